"""Weighted Best-of-N: the answer class with the largest sum of scores.

The expectation over k-subsets is a subset-sum problem, hence estimated by permutations, except at k = 1 and k = N.
P problems, N samples, K values of k.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from timetrial.statistics.choice import weighted_choice, whole_pool_value
from timetrial.statistics.monte_carlo import DEFAULT_PERMUTATIONS, Estimate, monte_carlo_at_k
from timetrial.statistics.table import FloatArray, IntArray, VoteTable


def weighted_at_k(
    table: VoteTable, ks: Sequence[int], *, permutations: int = DEFAULT_PERMUTATIONS, seed: int = 0
) -> Estimate:
    """Estimate the expected accuracy of weighted Best-of-k for each problem; k = 1 and k = N are exact.

    Raises:
        ValueError: the table has no scores, a k is out of range, or there are fewer than two permutations.
    """
    values, errors = monte_carlo_at_k(table, _WeightedVote(), ks, permutations=permutations, seed=seed)
    is_whole = np.asarray(ks) == table.num_samples
    values[:, is_whole] = whole_pool_value(table, table.require_scores())[:, None]
    errors[is_whole] = 0
    return Estimate(values, errors)


class _WeightedVote:
    """The rule as an aggregator."""

    needs_scores = True

    def choose(self, classes: IntArray, scores: FloatArray | None) -> IntArray:
        """Return the class with the largest sum of scores in each row."""
        assert scores is not None  # monte_carlo_at_k has checked
        return weighted_choice(classes, scores)
