"""`--register-metrics`: what it refuses before a run, and what it says after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from timetrial.catalog import Catalog
from timetrial.config import RunConfig
from timetrial.registering import Attached, check_registrable, register_metrics
from timetrial.registries import open_registries
from timetrial.runner import Run


def check_models(config: RunConfig, catalog: Catalog) -> None:
    """Refuse a run none of whose figures could be attached, before anything is sampled.

    Raises:
        UsageError: no model is a version of the user's registry.
    """
    check_registrable(config.models, catalog, open_registries(catalog))


def attach_figures(run: Run, catalog: Catalog) -> tuple[Attached, ...]:
    """Attach the figures of a finished run.

    Raises:
        UsageError: it has none.
        RegistryError: the registry cannot be written.
    """
    return register_metrics(run, open_registries(catalog))


def lines(attached: Iterable[Attached]) -> Iterator[str]:
    """Say, a line for each model, what became of its figures."""
    for item in attached:
        if item.version is None:
            yield f"not registered: {item.num_figures} figures of {item.model}: {item.reason}"
        else:
            known = item.num_figures - item.num_new
            before = f", {known} were attached before" if known else ""
            yield f"registered: {item.num_new} figures of {item.version}{before}"
