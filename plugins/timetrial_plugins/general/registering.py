"""Attach the figures of general benchmarks to the versions of the registry that they are of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import groupby

from timetrial.general_figures import figure_of
from timetrial.general_record import GENERAL_ENTRY, GeneralResult
from timetrial.plan import CONFIG_FILE
from timetrial.record import to_json
from timetrial.registering import Attached, attach
from timetrial.store import RunFolder
from timetrial_registry.joined import JoinedRegistry
from timetrial_registry.records import Metric


def register_results(
    folder: RunFolder, results: Iterable[GeneralResult], registry: JoinedRegistry
) -> tuple[Attached, ...]:
    """Attach each result to the version of its model; what was attached before stays as it is.

    Raises:
        RegistryError: the registry cannot be written.
    """
    models = (folder.read_json(CONFIG_FILE) or {})[GENERAL_ENTRY]["models"]
    figures: dict[str, list[Metric]] = {}
    for (model, _), group in groupby(results, key=lambda result: result.key):
        of_task = list(group)
        digest = _digest(of_task)
        found = (figure_of(result, run_digest=digest) for result in of_task)
        figures.setdefault(model, []).extend(figure for figure in found if figure is not None)
    return tuple(attach(registry, model, models[model], found) for model, found in figures.items())


def _digest(results: Sequence[GeneralResult]) -> str:
    """Return what stands for one task on one model: further tasks in the same folder do not change it."""
    return hashlib.sha256(json.dumps([to_json(result) for result in results]).encode()).hexdigest()
