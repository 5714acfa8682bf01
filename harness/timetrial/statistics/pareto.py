"""Who is worth running: dominated points, the front, and what the best point so far is worth over time.

A point is a number of seconds and a value (a share of problems solved). All functions take points along the last
axis, (..., n), and treat the leading axes (bootstrap replicates) independently. Values closer than 1e-9 are equal: at
one sample all rules agree, but each computes it in its own way.
"""

from __future__ import annotations

import numpy as np

from timetrial.statistics.table import BoolArray, FloatArray, IntArray

_SAME = 1e-9


def is_dominated(seconds: FloatArray, values: FloatArray) -> BoolArray:
    """Return whether another point takes no longer and is worth no less, one of the two strictly, (..., n)."""
    dominated = np.zeros(values.shape, dtype=np.bool_)
    for point in range(dominated.shape[-1]):
        second, value = seconds[..., point, None], values[..., point, None]
        no_worse = (seconds <= second) & (values >= value - _SAME)
        dominated[..., point] = (no_worse & ((seconds < second) | (values > value + _SAME))).any(axis=-1)
    return dominated


def value_within(seconds: FloatArray, values: FloatArray, budget_s: float) -> FloatArray:
    """Return the largest value that costs at most `budget_s`, (...); 0 if nothing does."""
    return np.asarray(np.where(seconds <= budget_s, values, 0).max(axis=-1, initial=0))


def area(seconds: FloatArray, values: FloatArray, start_s: float, end_s: float) -> FloatArray:
    """Return the mean over log time, between `start_s` and `end_s`, of the best value so far, (...).

    A = 1 / ln(T2 / T1) * integral from T1 to T2 of the step function max{value : seconds <= T} d ln T, with the value
    0 before the first point: the hypervolume of the points, normalised.
    """
    order, lengths = _steps(seconds, values, start_s, end_s)
    best = np.maximum.accumulate(np.take_along_axis(values, order, axis=-1), axis=-1)
    return np.asarray((best * lengths).sum(axis=-1) / np.log(end_s / start_s))


def front_shares(seconds: FloatArray, values: FloatArray, owners: IntArray, start_s: float, end_s: float) -> FloatArray:
    """Return the share of log time between `start_s` and `end_s` at which each owner holds the best value so far.

    `owners` (n,) numbers the owner of each point from 0; the result is (..., owners). Of equal values the earlier
    point holds. Before the first point nobody does, so the shares sum to at most 1.
    """
    order, lengths = _steps(seconds, values, start_s, end_s)
    ordered = np.take_along_axis(values, order, axis=-1)
    best = np.maximum.accumulate(ordered, axis=-1)
    improves = np.ones(ordered.shape, dtype=bool)
    improves[..., 1:] = ordered[..., 1:] > best[..., :-1] + _SAME
    holder = np.maximum.accumulate(np.where(improves, np.arange(ordered.shape[-1]), 0), axis=-1)
    owner = owners[np.take_along_axis(order, holder, axis=-1)]
    shares = [np.where(owner == each, lengths, 0).sum(axis=-1) for each in range(int(owners.max()) + 1)]
    return np.asarray(np.stack(shares, axis=-1) / np.log(end_s / start_s))


def _steps(seconds: FloatArray, values: FloatArray, start_s: float, end_s: float) -> tuple[IntArray, FloatArray]:
    """Return the order of the points by time, and the log time from each to the next within the range, (..., n)."""
    order = np.lexsort((-values, seconds), axis=-1)
    edges = np.log(np.clip(np.take_along_axis(seconds, order, axis=-1), start_s, end_s))
    return order, np.diff(edges, axis=-1, append=np.log(end_s))
