"""Which engine ran each timed model, and how; and for those that could not, why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from timetrial.report.data import ReportData
from timetrial.report.grid import timing_cells
from timetrial.report.table import Table


class MissingEngine(NamedTuple):
    """An engine that was asked for and cannot run a model on the machine."""

    environment: str
    model: str
    engine: str
    why_not: str

    def to_json(self) -> dict[str, str]:
        """Return what scripts read of it."""
        return self._asdict()


def missing_engines(report: ReportData) -> tuple[MissingEngine, ...]:
    """Return what was not timed because no engine of that name could run it."""
    return tuple(
        MissingEngine(environment, model, engine, facts["why_not"])
        for environment in report.machines
        for engine, by_model in _engines(report.environment.get(environment)).items()
        for model, facts in by_model.items()
        if "why_not" in facts
    )


def engine_tables(report: ReportData) -> Iterator[Table]:
    """Make the table of how the steps of each model were run, in the words of its engine; none if nobody says."""
    ran = {
        (cell.workload.environment, cell.model, cell.engine, cell.last.kernels): None
        for cell in timing_cells(report.timings)
        if cell.last.kernels
    }
    rows = [(model, engine, kernels or "") for _, model, engine, kernels in ran]
    rows += [(each.model, each.engine, f"not timed: {each.why_not}") for each in missing_engines(report)]
    if rows:
        yield Table(
            title="How the steps were run",
            columns=("model", "engine", "run"),
            rows=tuple(rows),
            num_text_columns=3,
            note="Own: the engine of the family's plugin. Others were timed beside it, in one random order.",
        )


def _engines(entry: Any) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:  # Any: JSON values
    return entry.get("engines", {}) if isinstance(entry, Mapping) else {}
