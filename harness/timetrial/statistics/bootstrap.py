"""Error bars over problems: the standard error, and the percentile bootstrap with problem weights.

A bootstrap replicate draws P problems of P with replacement; as weights, the share of draws each problem got. Means
under the same weights are paired: whatever makes a problem hard is in both. P problems, K columns, B replicates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from timetrial.statistics.table import FloatArray

CURVE_REPLICATES = 10_000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean over problems with its errors, (K,) each."""

    mean: FloatArray
    standard_error: FloatArray
    """Standard deviation over problems divided by sqrt(P); nan for a single problem."""
    low: FloatArray
    high: FloatArray
    """Ends of the percentile interval."""


def problem_standard_error(values: FloatArray) -> FloatArray:
    """Return the standard error of the mean over problems of `values` (P, K), (K,); nan for a single problem.

    Unbiased estimates of each problem, exact or Monte Carlo, carry their own noise into the spread over problems, so
    this error covers sampling within problems too.
    """
    num_problems = len(values)
    if num_problems < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(num_problems))


def bootstrap_weights(num_problems: int, replicates: int, seed: int = 0) -> FloatArray:
    """Return problem weights, (B, P), rows multinomial counts of P draws divided by P.

    Raises:
        ValueError: there are no problems or no replicates.
    """
    if num_problems < 1 or replicates < 1:
        raise ValueError(f"cannot draw {replicates} replicates of {num_problems} problems; both must be at least 1")
    rng = np.random.default_rng(seed)
    slots = rng.integers(num_problems, size=(replicates, num_problems))
    slots += np.arange(replicates)[:, None] * num_problems
    counts = np.bincount(slots.ravel(), minlength=replicates * num_problems)
    return np.asarray(counts.reshape(replicates, num_problems) / num_problems)


def percentile_interval(replicates: FloatArray, confidence: float = CONFIDENCE) -> tuple[FloatArray, FloatArray]:
    """Return the ends of the central interval of `replicates` (B, ...) over the first axis."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail], axis=0)
    return low, high


def bootstrap_mean(values: FloatArray, weights: FloatArray) -> Interval:
    """Return the mean over problems of `values` (P, K) with its bootstrap interval under `weights` (B, P).

    Raises:
        ValueError: the weights are for another number of problems.
    """
    if weights.shape[1] != len(values):
        raise ValueError(f"weights for {weights.shape[1]} problems do not fit values of {len(values)}")
    low, high = percentile_interval(weights @ values)
    return Interval(values.mean(axis=0), problem_standard_error(values), low, high)


def paired_difference(values: FloatArray, baseline: FloatArray, weights: FloatArray) -> Interval:
    """Return the mean of `values` - `baseline`, (P, K) each on the same problems in the same order, with its interval.

    Raises:
        ValueError: the shapes differ, or the weights are for another number of problems.
    """
    if values.shape != baseline.shape:
        raise ValueError(f"shapes {values.shape} and {baseline.shape} are not of the same problems")
    return bootstrap_mean(values - baseline, weights)
