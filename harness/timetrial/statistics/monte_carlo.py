"""Expected accuracy of any aggregator over random k-subsets, by random permutations.

One permutation of the N samples serves every k by its prefix, so the curve is smooth in k. The permutations depend
on the seed and the problem's id alone: all aggregators see the same ones, whatever the order of the problems.
P problems, N samples, R permutations, K values of k.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from timetrial.statistics.table import BoolArray, FloatArray, IntArray, VoteTable

if TYPE_CHECKING:
    from timetrial.protocol import Aggregator

DEFAULT_PERMUTATIONS = 256
_CHUNK_ELEMENTS = 1 << 20  # bounds the memory of one batch of permutations


class Estimate(NamedTuple):
    """A Monte Carlo estimate and its own error."""

    values: FloatArray
    """(P, K) expected accuracy of each problem."""
    monte_carlo_errors: FloatArray
    """(K,) standard error of the mean over problems that the permutations alone cause; 0 where it is exact."""


def monte_carlo_at_k(
    table: VoteTable,
    aggregator: Aggregator,
    ks: Sequence[int],
    *,
    permutations: int = DEFAULT_PERMUTATIONS,
    seed: int = 0,
) -> Estimate:
    """Estimate the expected accuracy of `aggregator` over random k-subsets from its choices alone.

    k = 1 is exact: all N subsets are tried. The error is at most 0.5 / sqrt(P R).

    Raises:
        ValueError: a k is out of range, there are fewer than two permutations, scores are needed and absent, or the
            aggregator does not choose one class per row.
    """
    table.check_ks(ks)
    if permutations < 2:
        raise ValueError(f"{permutations} permutations have no standard error; use at least 2")
    if aggregator.needs_scores:
        table.require_scores()
    values = np.empty((len(table.problems), len(ks)))
    variances = np.zeros_like(values)
    singles = np.arange(table.num_samples)[:, None]
    for row, problem in enumerate(table.problems):
        hits = np.zeros(len(ks), dtype=np.int64)
        for order in _permutations(problem, table.num_samples, permutations, seed):
            hits += [_hits(table, row, aggregator, order[:, :k]).sum() if k > 1 else 0 for k in ks]
        share = hits / permutations
        variances[row] = share * (1 - share) / (permutations - 1)
        values[row] = share
        if 1 in ks:
            values[row, np.asarray(ks) == 1] = _hits(table, row, aggregator, singles).mean()
    return Estimate(values, np.sqrt(variances.sum(axis=0)) / max(len(values), 1))


def _permutations(problem: str, num_samples: int, count: int, seed: int) -> Iterator[IntArray]:
    """Yield `count` random orders of a problem's samples in chunks, (R', N) each."""
    rng = np.random.default_rng([seed, zlib.crc32(problem.encode())])
    chunk = max(1, _CHUNK_ELEMENTS // max(num_samples, 1))
    for start in range(0, count, chunk):
        orders = np.tile(np.arange(num_samples), (min(chunk, count - start), 1))
        yield rng.permuted(orders, axis=1, out=orders)


def _hits(table: VoteTable, row: int, aggregator: Aggregator, samples: IntArray) -> BoolArray:
    """Return whether the aggregator is right on each subset, `samples` (R, k), of one problem's samples, (R,)."""
    classes = table.classes[row][samples]
    scores = None if table.scores is None else table.scores[row][samples]
    chosen = np.asarray(aggregator.choose(classes, scores))
    num_classes = table.correct.shape[1]
    if chosen.shape != (len(samples),) or not np.issubdtype(chosen.dtype, np.integer):
        raise ValueError(
            f"choose must return one class number per row, shape ({len(samples)},) of integers, "
            f"not shape {chosen.shape} of {chosen.dtype}"
        )
    if chosen.size and not -1 <= chosen.min() <= chosen.max() < num_classes:
        bad = chosen[(chosen < -1) | (chosen >= num_classes)][0]
        raise ValueError(f"choose returned class {bad}, of classes -1 (none) to {num_classes - 1}")
    # Class -1 reads the last entry: no choice is wrong.
    return np.asarray(np.append(table.correct[row], False)[chosen])
