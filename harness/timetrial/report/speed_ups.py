"""How much sooner one model has decoded a batch than another, measured, and at most by their floors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from timetrial.engines import OWN_ENGINE
from timetrial.report.grid import Cell, Workload, by_workload, timed_label
from timetrial.statistics.budget import best_split, best_split_s


class SplitTime(NamedTuple):
    """The decode seconds of a batch, in several batches if one does not fit."""

    seconds: float
    batches: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSpeedUp:
    """One model on one engine against the baseline on one engine, at one batch size."""

    workload: Workload
    batch: int
    model: str
    engine: str
    baseline: str
    baseline_engine: str
    time: SplitTime
    baseline_time: SplitTime
    bound: float | None
    """The ratio of their floors: what the speed-up would be if both ran at theirs; None if one is unknown."""

    @property
    def label(self) -> str:
        """The model, with its engine if that is not its family's own."""
        return timed_label(self.model, self.engine)

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
    """Compare every model on every engine with the baseline on every engine, workload by workload, batch by batch.

    The baseline itself is compared with what other engines make of it. A batch that ran out of memory takes the seconds
    of its best split; a model none of whose batches fitted is left out.
    """
    return tuple(
        each
        for shown in by_workload(cells).values()
        for (model, engine), ours in _by_engine(shown).items()
        for (other, other_engine), theirs in _by_engine(shown).items()
        if other == baseline and (model != baseline or (engine == OWN_ENGINE != other_engine))
        for each in _compare(ours, theirs)
    )


def split_time(cells: Mapping[int, Cell], batch: int) -> SplitTime | None:
    """Return the seconds of a batch, given one model's cells of one workload by batch; None if none of them fitted."""
    if cells[batch].decode_s:
        return SplitTime(cells[batch].median_s, (batch,))
    fitting = sorted(size for size, cell in cells.items() if cell.decode_s)
    if not fitting:
        return None
    seconds = np.array([cells[size].median_s for size in fitting])
    return SplitTime(float(best_split_s(fitting, seconds, [batch])[0]), best_split(fitting, seconds, batch))


def _by_engine(cells: Sequence[Cell]) -> dict[tuple[str, str], dict[int, Cell]]:
    """Gather cells by batch for each (model, engine)."""
    groups: dict[tuple[str, str], dict[int, Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.model, cell.engine), {})[cell.batch] = cell
    return groups


def _compare(ours: Mapping[int, Cell], theirs: Mapping[int, Cell]) -> Iterator[BatchSpeedUp]:
    for batch in sorted(ours.keys() & theirs.keys()):
        time, baseline_time = split_time(ours, batch), split_time(theirs, batch)
        if time is not None and baseline_time is not None:
            floor_s, baseline_floor_s = ours[batch].last.floor_s, theirs[batch].last.floor_s
            yield BatchSpeedUp(
                workload=ours[batch].workload,
                batch=batch,
                model=ours[batch].model,
                engine=ours[batch].engine,
                baseline=theirs[batch].model,
                baseline_engine=theirs[batch].engine,
                time=time,
                baseline_time=baseline_time,
                bound=baseline_floor_s / floor_s if floor_s and baseline_floor_s else None,
            )
