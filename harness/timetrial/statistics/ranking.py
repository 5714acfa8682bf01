"""How well a score tells right samples from wrong ones within a problem, and whether it follows something else.

P problems, N samples per problem.
"""

from __future__ import annotations

import numpy as np

from timetrial.statistics.table import BoolArray, FloatArray, VoteTable


def within_problem_auc(table: VoteTable) -> FloatArray:
    """Return, for each problem, the chance that a right sample is scored above a wrong one, a tie counting half, (P,).

    Samples that abstain are left out. nan for problems that lack right samples, or wrong ones.

    Raises:
        ValueError: the table has no scores.
    """
    scores, right, votes = table.require_scores(), table.sample_correct, table.classes >= 0
    areas = np.full(len(scores), np.nan)
    for row in range(len(scores)):
        high, low = scores[row][right[row]], np.sort(scores[row][votes[row] & ~right[row]])
        if len(high) and len(low):
            wins = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
            areas[row] = wins.mean() / (2 * len(low))
    return areas


def correlation(scores: FloatArray, others: FloatArray, chosen: BoolArray) -> float | None:
    """Return Pearson's correlation of `scores` and `others` over the chosen samples, (P, N); None if one is flat."""
    return _pearson(scores[chosen], others[chosen])


def within_problem_correlation(scores: FloatArray, others: FloatArray, chosen: BoolArray) -> float | None:
    """Return the same with every problem's mean taken off first: what a choice among one problem's samples meets."""
    counts = np.maximum(chosen.sum(axis=1, keepdims=True), 1)

    def centred(values: FloatArray) -> FloatArray:
        kept = np.where(chosen, values, 0.0)
        return np.asarray(kept - kept.sum(axis=1, keepdims=True) / counts)

    return _pearson(centred(scores)[chosen], centred(others)[chosen])


def _pearson(first: FloatArray, second: FloatArray) -> float | None:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])
