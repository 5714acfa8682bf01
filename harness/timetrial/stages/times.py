"""From the rows of timings.jsonl to the seconds of k samples, for every model at once.

B replicates, K values of k.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from timetrial.analysis import TimeTable
from timetrial.error import RunError
from timetrial.record import Timing
from timetrial.statistics.bootstrap import percentile_interval
from timetrial.statistics.budget import MeasuredGrid, best_split, best_split_s
from timetrial.statistics.table import FloatArray


class Seconds(NamedTuple):
    """T*(k) of one model at some ks."""

    seconds: FloatArray
    """(K,) from the median repeats."""
    replicates: FloatArray
    """(B, K) from one repeat of each batch size, drawn at random."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTimes:
    """T*(k) of one model at every k of a run."""

    table: TimeTable
    replicates: FloatArray
    """(B, K) for the ks of the table."""

    def at(self, ks: Sequence[int]) -> Seconds:
        """Return the seconds of some of the table's ks, in that order."""
        columns = [self.table.ks.index(k) for k in ks]
        return Seconds(np.array(self.table.seconds)[columns], self.replicates[:, columns])


def model_times(
    timings: Iterable[Timing], ks: Sequence[int], *, replicates: int, seed: int
) -> Mapping[str, ModelTimes]:
    """Return T*(k) of every model that completed a timed batch; a model without one is absent.

    A batch size counts as out of memory if any repeat, warm-ups included, ran out of it; nothing else is taken from
    warm-ups.

    Raises:
        RunError: the rows come from several machines, or a model was timed on several workloads.
    """
    rows: dict[str, list[Timing]] = {}
    for timing in timings:
        rows.setdefault(timing.model, []).append(timing)
    environments = sorted({timing.environment for model in rows.values() for timing in model})
    if len(environments) > 1:
        raise RunError(
            f"the timings come from {len(environments)} machines or set-ups ({', '.join(environments)}): "
            "seconds of different machines do not belong in one comparison; keep one of them"
        )
    times = {}
    for model, timed in rows.items():
        grid = measured_grid(timed)
        if grid is not None:
            rng = np.random.default_rng([seed, zlib.crc32(model.encode())])
            times[model] = _model_times(timed[0], grid, ks, grid.draw(replicates, rng))
    return times


def measured_grid(timings: Sequence[Timing]) -> MeasuredGrid | None:
    """Return the grid of one model's timings, or None if no batch fitted.

    Raises:
        RunError: they are of several workloads.
    """
    workloads = sorted({(timing.prompt_tokens, timing.new_tokens) for timing in timings})
    if len(workloads) > 1:
        listed = "; ".join(f"{prompt} prompt and {new} new tokens" for prompt, new in workloads)
        raise RunError(f"{timings[0].model} was timed on several workloads ({listed}): choose one of them")
    failed = {timing.batch for timing in timings if timing.decode_s is None}
    repeats: dict[int, list[float]] = {}
    for timing in timings:
        if timing.decode_s is not None and not timing.is_warmup and timing.batch not in failed:
            repeats.setdefault(timing.batch, []).append(timing.decode_s)
    if not repeats:
        return None
    batches = tuple(sorted(repeats))
    return MeasuredGrid(
        batches=batches,
        seconds=tuple(tuple(sorted(repeats[batch])) for batch in batches),
        out_of_memory=tuple(sorted(failed)),
    )


def _model_times(row: Timing, grid: MeasuredGrid, ks: Sequence[int], drawn: FloatArray) -> ModelTimes:
    seconds = best_split_s(grid.batches, grid.median_s, ks)
    replicates = best_split_s(grid.batches, drawn, ks)
    low, high = percentile_interval(replicates)
    table = TimeTable(
        model=row.model,
        prompt_tokens=row.prompt_tokens,
        new_tokens=row.new_tokens,
        environment=row.environment,
        batches=grid.batches,
        batch_seconds=tuple(grid.median_s.tolist()),
        num_repeats=tuple(len(repeats) for repeats in grid.seconds),
        out_of_memory=grid.out_of_memory,
        ks=tuple(ks),
        seconds=tuple(seconds.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        splits=tuple(best_split(grid.batches, grid.median_s, k) for k in ks),
    )
    return ModelTimes(table=table, replicates=replicates)
