"""How much sooner one model has decoded a batch than another, measured, and at most by their floors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from timetrial.report.grid import Cell, Workload, by_workload
from timetrial.statistics.budget import best_split, best_split_s


class SplitTime(NamedTuple):
    """The decode seconds of a batch, in several batches if one does not fit."""

    seconds: float
    batches: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSpeedUp:
    """One model against the baseline at one batch size."""

    workload: Workload
    batch: int
    model: str
    baseline: str
    time: SplitTime
    baseline_time: SplitTime
    bound: float | None
    """The ratio of their floors: what the speed-up would be if both ran at theirs; None if one is unknown."""

    @property
    def ratio(self) -> float:
        """How many times as long the baseline takes."""
        return self.baseline_time.seconds / self.time.seconds

    def to_json(self) -> dict[str, Any]:  # Any: JSON-ready
        """Return what scripts read of it."""
        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        times = {name: facts.pop(name)._asdict() for name in ("time", "baseline_time")}
        return {**facts.pop("workload")._asdict(), **facts, **times, "ratio": self.ratio}


def batch_speed_ups(cells: Iterable[Cell], baseline: str | None) -> tuple[BatchSpeedUp, ...]:
    """Compare every model with the baseline at every batch size tried of both, workload by workload.

    A batch that ran out of memory takes the seconds of its best split. A model none of whose batches fitted is left
    out.
    """
    return tuple(
        each
        for shown in by_workload(cells).values()
        for model in dict.fromkeys(cell.model for cell in shown if cell.model != baseline)
        for each in _compare(_cells_of(model, shown), _cells_of(baseline, shown))
    )


def _cells_of(model: str | None, cells: Sequence[Cell]) -> dict[int, Cell]:
    return {cell.batch: cell for cell in cells if cell.model == model}


def _compare(ours: dict[int, Cell], theirs: dict[int, Cell]) -> Iterator[BatchSpeedUp]:
    for batch in sorted(ours.keys() & theirs.keys()):
        time, baseline_time = _split_time(ours, batch), _split_time(theirs, batch)
        if time is not None and baseline_time is not None:
            floor_s, baseline_floor_s = ours[batch].last.floor_s, theirs[batch].last.floor_s
            yield BatchSpeedUp(
                workload=ours[batch].workload,
                batch=batch,
                model=ours[batch].model,
                baseline=theirs[batch].model,
                time=time,
                baseline_time=baseline_time,
                bound=baseline_floor_s / floor_s if floor_s and baseline_floor_s else None,
            )


def _split_time(cells: dict[int, Cell], batch: int) -> SplitTime | None:
    if cells[batch].decode_s:
        return SplitTime(cells[batch].median_s, (batch,))
    fitting = sorted(size for size, cell in cells.items() if cell.decode_s)
    if not fitting:
        return None
    seconds = np.array([cells[size].median_s for size in fitting])
    return SplitTime(float(best_split_s(fitting, seconds, [batch])[0]), best_split(fitting, seconds, batch))
