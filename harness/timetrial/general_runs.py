"""Figures of run folders by the version they are of: for what nothing can be attached to, such as a shipped teacher."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from timetrial.curve_figures import figures_of
from timetrial.error import RunError
from timetrial.general_figures import figure_of
from timetrial.general_record import GENERAL_ENTRY, GeneralResult
from timetrial.loading import REGISTRY_FACT
from timetrial.plan import CONFIG_FILE
from timetrial.record import Curve, from_json
from timetrial.stages.derive import CURVES_FILE
from timetrial.store import RunFolder
from timetrial_registry.records import Metric


def is_run(place: str) -> bool:
    """Whether a text names a run folder rather than a version of the registry."""
    return (Path(place) / CONFIG_FILE).is_file()


def run_figures(path: Path) -> dict[str, list[Metric]]:
    """Return the figures of greedy answers and of general benchmarks in a run folder, by the digest of their version.

    Raises:
        RunError: it holds none of models that are versions of a registry.
    """
    folder = RunFolder(path)
    config = folder.read_json(CONFIG_FILE) or {}
    facts = {**config.get("models", {}), **config.get(GENERAL_ENTRY, {}).get("models", {})}
    digests = {ref: known[REGISTRY_FACT]["digest"] for ref, known in facts.items() if REGISTRY_FACT in known}
    found: dict[str, list[Metric]] = defaultdict(list)
    for model, metric in _figures(folder):
        if model in digests:
            found[digests[model]].append(metric)
    if not found:
        raise RunError(
            f"{path} has no general benchmarks and no greedy answers (--temperature 0) of a version of the registry"
        )
    return found


def _figures(folder: RunFolder) -> Iterator[tuple[str, Metric]]:
    run = str(folder.path)
    for stored in (folder.read_json(CURVES_FILE) or {"curves": []})["curves"]:
        curve = from_json(Curve, stored)
        if curve.temperature == 0:
            yield from (
                (curve.model, metric) for metric in figures_of(curve, task_version=None, run_digest=run, facts={})
            )
    for result in folder.read(GeneralResult):
        if (figure := figure_of(result, run_digest=run)) is not None:
            yield result.model, figure
