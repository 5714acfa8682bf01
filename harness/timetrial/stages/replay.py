"""Replay: what the completions of a run would have cost, by their actual lengths and the seconds of one step.

P problems, N samples, K values of k.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from timetrial.record import Timing
from timetrial.replay_record import ReplayedSeconds, Throughput
from timetrial.stages.lengths import LengthPool
from timetrial.stages.times import measured_grid
from timetrial.statistics.bootstrap import Interval, bootstrap_mean, bootstrap_weights
from timetrial.statistics.budget import best_split_s
from timetrial.statistics.schedule import schedule
from timetrial.statistics.step_seconds import StepSeconds
from timetrial.statistics.subset_seconds import Mode, cheapest_waves, expected_seconds
from timetrial.statistics.table import FloatArray


class Splits(NamedTuple):
    """Expected seconds of some ks, and the batches they run in."""

    seconds: Interval
    splits: tuple[tuple[int, ...], ...]


def replay_seconds(
    pool: LengthPool,
    steps: StepSeconds,
    mapped: Sequence[Timing],
    ks: Sequence[int],
    *,
    replicates: int,
    seed: int,
) -> ReplayedSeconds:
    """Return the expected seconds of k of a problem's completions, in both modes, beside T*(k) of the timing grid.

    The pool has problems; `mapped` are the rows that T*(k) comes from.
    """
    weights = bootstrap_weights(len(pool.problems), replicates, seed)
    static, compact = (_expected(pool, steps, mode, ks, weights) for mode in ("static", "compact"))
    grid = measured_grid(mapped)
    assert grid is not None, "a model with fitted steps has a timed batch"
    return ReplayedSeconds(
        **pool.series._asdict(),
        num_samples=pool.num_samples,
        num_problems=len(pool.problems),
        num_left_out=pool.num_left_out,
        mean_tokens=float(pool.lengths.mean()),
        longest_tokens=int(pool.lengths.max()),
        ks=tuple(ks),
        mapped_s=tuple(best_split_s(grid.batches, grid.median_s, ks).tolist()),
        static_s=tuple(static.seconds.mean.tolist()),
        static_low=tuple(static.seconds.low.tolist()),
        static_high=tuple(static.seconds.high.tolist()),
        static_splits=static.splits,
        compact_s=tuple(compact.seconds.mean.tolist()),
        compact_low=tuple(compact.seconds.low.tolist()),
        compact_high=tuple(compact.seconds.high.tolist()),
        compact_splits=compact.splits,
    )


def _expected(pool: LengthPool, steps: StepSeconds, mode: Mode, ks: Sequence[int], weights: FloatArray) -> Splits:
    """Run k samples in one batch, or in several one after another where they do not fit or that is quicker.

    The batches are of measured sizes and of the ks themselves, and the same for all problems: nobody knows before
    generating which problem's completions will be long.
    """
    most = min(pool.num_samples, steps.largest)
    sizes = sorted({size for size in (*steps.batches, *ks) if size <= most})
    batches = expected_seconds(steps, mode, pool.prompt_tokens, pool.lengths, sizes)  # (P, sizes)
    splits = cheapest_waves(batches.mean(axis=0), sizes, ks)
    columns = [batches[:, [sizes.index(size) for size in split]].sum(axis=1) for split in splits]
    return Splits(bootstrap_mean(np.stack(columns, axis=1), weights), splits)


def throughputs(pool: LengthPool, steps: StepSeconds) -> Iterator[Throughput]:
    """Yield what a busy engine makes of all completions, problem after problem, for every measured number of rows."""
    prompts = np.repeat(pool.prompt_tokens, pool.num_samples)
    for rows in steps.batches:
        made = schedule(steps, prompts, pool.lengths.ravel(), rows)
        yield Throughput(
            **pool.series._asdict(),
            num_samples=pool.num_samples,
            rows=rows,
            mean_rows=made.mean_rows,
            problem_s=made.seconds / len(pool.problems),
            tokens_per_s=float(pool.lengths.sum()) / made.seconds,
        )
