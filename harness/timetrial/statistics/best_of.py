"""Best-of-N: the answer of the sample with the highest score, its expected accuracy over all k-subsets.

Equal scores are broken uniformly at random; an abstaining sample is chosen only when all k abstain, and is wrong.
P problems, N samples, K values of k. Order statistics: the sample of ascending rank r (from 0) is the best of a
random k-subset with probability C(r, k - 1) / C(N, k).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from timetrial.statistics.table import FloatArray, VoteTable


def best_of_k(table: VoteTable, ks: Sequence[int]) -> FloatArray:
    """Return the exact expected accuracy of Best-of-k for each problem, (P, K).

    Raises:
        ValueError: the table has no scores, or a k is below 1 or above N.
    """
    table.check_ks(ks)
    scores = np.where(table.classes >= 0, table.require_scores(), -np.inf)
    order = np.argsort(scores, axis=1)
    ranked_scores = np.take_along_axis(scores, order, axis=1)
    ranked_correct = np.take_along_axis(table.sample_correct, order, axis=1).astype(np.float64)
    values = _tie_means(ranked_scores, ranked_correct) @ rank_weights(table.num_samples, ks)
    return np.asarray(np.clip(values, 0, 1))  # the weights sum to 1 but for rounding


def rank_weights(num_samples: int, ks: Sequence[int]) -> FloatArray:
    """Return C(r, k - 1) / C(N, k) for every ascending rank r, (N, K); each column sums to 1.

    From the top rank down the weight falls by the factor (r - k + 1)/r: no large binomial coefficient occurs.
    """
    ranks = np.arange(num_samples - 1, 0, -1)[:, None]
    k = np.asarray(ks)[None, :]
    falling = np.cumprod(np.maximum(ranks - k + 1, 0) / ranks, axis=0)
    top = k / num_samples
    return np.vstack([top, top * falling])[::-1]


def _tie_means(ranked_scores: FloatArray, values: FloatArray) -> FloatArray:
    """Replace each value, (P, N), by the mean over the samples of its problem with the same score.

    The rank weights of a group of equal scores sum to the probability that the group holds the maximum, so its mean
    is what a uniform tie-break is worth.
    """
    starts = np.ones(values.shape, dtype=bool)
    starts[:, 1:] = ranked_scores[:, 1:] != ranked_scores[:, :-1]
    group = np.cumsum(starts.ravel()) - 1
    means = np.bincount(group, weights=values.ravel()) / np.bincount(group)
    return np.asarray(means[group].reshape(values.shape))
