"""Coverage, or pass@k: the probability that a random k-subset of a problem's samples holds a right one.

With c of N samples right,  pass@k = 1 - C(N - c, k) / C(N, k)  (Chen et al. 2021, arXiv 2107.03374).
P problems, K values of k.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from timetrial.statistics.table import FloatArray, IntArray, VoteTable


def pass_at_k(table: VoteTable, ks: Sequence[int]) -> FloatArray:
    """Return the exact pass@k of each problem, (P, K).

    Raises:
        ValueError: a k is below 1 or above N.
    """
    table.check_ks(ks)
    num_correct = table.sample_correct.sum(axis=1)
    return pass_at_k_from_counts(np.full_like(num_correct, table.num_samples), num_correct, ks)


def pass_at_k_from_counts(
    num_samples: IntArray | Sequence[int], num_correct: IntArray | Sequence[int], ks: Sequence[int]
) -> FloatArray:
    """Return the exact pass@k, (P, K), of problems with `num_correct` right samples out of `num_samples`, each (P,).

    A k above a problem's own number of samples gives nan: there is no such subset, and no unbiased estimate.

    Raises:
        ValueError: the shapes differ, a k is below 1, or a count is not between 0 and its number of samples.
    """
    samples, correct = np.asarray(num_samples, dtype=np.int64), np.asarray(num_correct, dtype=np.int64)
    if samples.ndim != 1 or samples.shape != correct.shape:
        raise ValueError(f"num_samples has shape {samples.shape}, num_correct {correct.shape}; expected the same (P,)")
    if ((correct < 0) | (correct > samples)).any():
        row = int(np.argmax((correct < 0) | (correct > samples)))
        raise ValueError(f"{correct[row]} right of {samples[row]} samples (row {row}) is no count")
    if any(k < 1 for k in ks):
        raise ValueError(f"k must be at least 1, not {min(ks)}")
    values = np.empty((len(samples), len(ks)))
    for size in np.unique(samples):
        rows = samples == size
        values[rows] = _by_num_correct(int(size), ks)[correct[rows]]
    return values


def _by_num_correct(num_samples: int, ks: Sequence[int]) -> FloatArray:
    """Return pass@k for every possible number of right samples, (N + 1, K).

    The probability of missing all c right samples is that of missing c - 1 of them times (N - c + 1 - k)/(N - c + 1),
    so a running product of numbers below 1 gives all c without one large binomial coefficient.
    """
    remaining = np.arange(num_samples, 0, -1)[:, None]
    k = np.asarray(ks)[None, :]
    missed = np.cumprod(np.maximum(remaining - k, 0) / remaining, axis=0)
    values = np.vstack([np.zeros((1, len(ks))), 1 - missed])
    values[:, np.asarray(ks) > num_samples] = np.nan
    return values
