"""From measured batches to seconds: T*(k), the least decode time of k samples of one problem.

A batch that does not fit the device is split: T*(k) is the cheapest multiset of batches that together hold at least k
samples, the last one rounded up. Between measured batch sizes the time is interpolated linearly; above the largest
that fitted nothing is extrapolated, only split.
S measured batch sizes, K values of k, B replicates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timetrial.statistics.table import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredGrid:
    """The decode seconds of one model, measured repeatedly at several batch sizes."""

    batches: tuple[int, ...]
    """Batch sizes that fitted, ascending."""
    seconds: tuple[tuple[float, ...], ...]
    """The timed repeats of each batch size, warm-ups left out."""
    out_of_memory: tuple[int, ...] = ()
    """Batch sizes that did not fit, ascending."""

    def __post_init__(self) -> None:
        """Check that there is something to compute with.

        Raises:
            ValueError: nothing fitted, sizes are not ascending, or a time is missing or not positive.
        """
        if not self.batches or len(self.batches) != len(self.seconds):
            raise ValueError(f"{len(self.batches)} batch sizes with {len(self.seconds)} lists of times are no grid")
        if list(self.batches) != sorted(set(self.batches)) or self.batches[0] < 1:
            raise ValueError(f"batch sizes {self.batches} are not ascending from 1")
        for batch, repeats in zip(self.batches, self.seconds, strict=True):
            if not repeats or not all(0 < second < float("inf") for second in repeats):
                raise ValueError(f"batch size {batch} has times {repeats}; expected positive seconds")

    @property
    def median_s(self) -> FloatArray:
        """Median seconds of each batch size, (S,)."""
        return np.array([np.median(repeats) for repeats in self.seconds])

    def draw(self, replicates: int, rng: np.random.Generator) -> FloatArray:
        """Return one repeat of each batch size per replicate, drawn at random, (B, S)."""
        drawn = [np.array(repeats)[rng.integers(len(repeats), size=replicates)] for repeats in self.seconds]
        return np.stack(drawn, axis=1)


def best_split_s(batches: Sequence[int], seconds: FloatArray, ks: Sequence[int]) -> FloatArray:
    """Return T*(k), (..., K), from the seconds of each batch size, (..., S), `batches` ascending.

    T*(0) = 0 and T*(k) = min over batches b of T(b) + T*(max(0, k - b)). Batch sizes between measured ones need to be
    tried once per k only: of two such batches one can always grow and the other shrink at no cost.
    """
    exact = _measured_only_s(batches, seconds, max(ks, default=0))
    sizes = np.arange(batches[0], batches[-1] + 1)
    once = _interpolate_s(batches, seconds, sizes)
    columns = [(once + exact[..., np.maximum(k - sizes, 0)]).min(axis=-1) for k in ks]
    return np.stack(columns, axis=-1) if columns else np.empty((*seconds.shape[:-1], 0))


def best_split(batches: Sequence[int], seconds: FloatArray, k: int) -> tuple[int, ...]:
    """Return the batches that T*(k) runs, largest first, from the seconds of each batch size, (S,).

    Of equally quick splits it is the one that starts with the largest batch not above k.
    """
    exact = _measured_only_s(batches, seconds, k)
    sizes = np.arange(batches[0], batches[-1] + 1)
    sizes = np.concatenate([sizes[sizes <= k][::-1], sizes[sizes > k]])
    costs = _interpolate_s(batches, seconds, sizes) + exact[np.maximum(k - sizes, 0)]
    split = [int(sizes[costs.argmin()])]
    nodes = np.asarray(batches)[::-1]
    while sum(split) < k:
        left = k - sum(split)
        split.append(int(nodes[(seconds[::-1] + exact[np.maximum(left - nodes, 0)]).argmin()]))
    return tuple(sorted(split, reverse=True))


def _measured_only_s(batches: Sequence[int], seconds: FloatArray, max_k: int) -> FloatArray:
    """Return the least seconds of at least 0, 1, ..., max_k samples from measured batch sizes alone, (..., max_k+1)."""
    least = np.zeros((*seconds.shape[:-1], max_k + 1))
    sizes = np.asarray(batches)
    for k in range(1, max_k + 1):
        least[..., k] = (seconds + least[..., np.maximum(k - sizes, 0)]).min(axis=-1)
    return least


def _interpolate_s(batches: Sequence[int], seconds: FloatArray, sizes: IntArray) -> FloatArray:
    """Return the seconds of each of `sizes`, linear between the measured `batches`, (..., sizes)."""
    nodes = np.asarray(batches)
    right = np.clip(np.searchsorted(nodes, sizes), 1, max(len(nodes) - 1, 1))
    if len(nodes) == 1:
        return np.broadcast_to(seconds, (*seconds.shape[:-1], len(sizes)))
    share = (sizes - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    return np.asarray((1 - share) * seconds[..., right - 1] + share * seconds[..., right])


def budget_ladder(start_s: float, end_s: float) -> tuple[float, ...]:
    """Return the round budgets (1, 2 or 5 times a power of ten) between two times."""
    decades = range(math.floor(math.log10(start_s)), math.ceil(math.log10(end_s)) + 1)
    rungs = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    return tuple(rung for rung in rungs if start_s <= rung <= end_s)
