"""How two figures of the same checkpoints go together: Pearson's and Spearman's coefficients with bootstrap intervals.

The checkpoints are resampled with replacement, as weights. Spearman's coefficient is Pearson's of the ranks, tied
values sharing the mean of theirs; under weights, the rank of a value is the weight below it and half of the weight at
it (Spearman, 1904, https://doi.org/10.2307/1412159). n checkpoints, B replicates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from timetrial.statistics.bootstrap import bootstrap_weights, percentile_interval
from timetrial.statistics.table import FloatArray

REPLICATES = 10_000
LEAST_POINTS = 3
"""Below this two points always lie on a line."""
LEAST_FOR_INTERVAL = 5
"""Below this so many resamples consist of one or two checkpoints that percentiles mean nothing."""


class Estimate(NamedTuple):
    """A coefficient between -1 and 1 with the ends of its 95 % interval."""

    value: float | None
    """None: too few points, or one of the figures is the same for all."""
    low: float | None
    """None: too few points for an interval."""
    high: float | None


class Correlation(NamedTuple):
    """Both coefficients of the same points."""

    pearson: Estimate
    spearman: Estimate


def correlate(x: FloatArray, y: FloatArray, *, replicates: int = REPLICATES, seed: int = 0) -> Correlation:
    """Return how `x` and `y`, (n,) each, go together.

    A resample in which one of them is constant has no coefficient, and is left out.

    Raises:
        ValueError: the shapes differ.
    """
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"shapes {x.shape} and {y.shape} are not of the same points")
    if len(x) < LEAST_POINTS:
        nothing = Estimate(None, None, None)
        return Correlation(nothing, nothing)
    equal = np.full((1, len(x)), 1 / len(x))
    weights = bootstrap_weights(len(x), replicates, seed) if len(x) >= LEAST_FOR_INTERVAL else None
    return Correlation(
        pearson=_estimate(_pearson(x, y, equal), None if weights is None else _pearson(x, y, weights)),
        spearman=_estimate(_spearman(x, y, equal), None if weights is None else _spearman(x, y, weights)),
    )


def _estimate(whole: FloatArray, resampled: FloatArray | None) -> Estimate:
    value = None if np.isnan(whole[0]) else float(whole[0])
    known = np.empty(0) if resampled is None else resampled[~np.isnan(resampled)]
    if value is None or not len(known):
        return Estimate(value, None, None)
    low, high = percentile_interval(known)
    return Estimate(value, float(low), float(high))


def _pearson(x: FloatArray, y: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the coefficient under each row of `weights` (B, n), (B,); `x` and `y` are (n,) or (B, n).

    nan where one of them does not vary.
    """
    x_centred = x - (weights * x).sum(axis=1, keepdims=True)
    y_centred = y - (weights * y).sum(axis=1, keepdims=True)
    spread = (weights * x_centred**2).sum(axis=1) * (weights * y_centred**2).sum(axis=1)
    is_constant = spread < 1e-24  # of figures between 0 and 1, or of ranks: rounding errors alone
    together = (weights * x_centred * y_centred).sum(axis=1)
    return np.where(is_constant, np.nan, together / np.sqrt(np.where(is_constant, 1.0, spread)))


def _spearman(x: FloatArray, y: FloatArray, weights: FloatArray) -> FloatArray:
    return _pearson(_ranks(x, weights), _ranks(y, weights), weights)


def _ranks(x: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the rank of each value under each row of weights, (B, n), as a share of all weight."""
    below = (x[:, None] < x[None, :]) + 0.5 * (x[:, None] == x[None, :])
    return np.asarray(weights @ below)
