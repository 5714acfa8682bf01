"""Weighted Best-of-N: the answer class with the largest sum of scores, or of their powers.

Scores raised to gamma join three rules: 0 is a majority vote, 1 the plain sum, and a large gamma tends to Best-of-N.
The expectation over k-subsets is a subset-sum problem, hence estimated by permutations, except at k = 1 and k = N.
P problems, N samples, K values of k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timetrial.statistics.choice import powers, weighted_choice, whole_pool_value
from timetrial.statistics.monte_carlo import DEFAULT_PERMUTATIONS, Estimate, monte_carlo_at_k
from timetrial.statistics.table import FloatArray, IntArray, VoteTable


def weighted_at_k(
    table: VoteTable,
    ks: Sequence[int],
    *,
    gamma: float = 1.0,
    permutations: int = DEFAULT_PERMUTATIONS,
    seed: int = 0,
) -> Estimate:
    """Estimate the expected accuracy of weighted Best-of-k for each problem; k = 1 and k = N are exact.

    `gamma` is the power that scores are raised to, from 0 to infinity.

    Raises:
        ValueError: the table has no scores, or negative ones that have no such power, a k is out of range, or there
            are fewer than two permutations.
    """
    values, errors = monte_carlo_at_k(table, _WeightedVote(gamma), ks, permutations=permutations, seed=seed)
    is_whole = np.asarray(ks) == table.num_samples
    weights = powers(table.classes, table.require_scores(), gamma)
    values[:, is_whole] = whole_pool_value(table, weights)[:, None]
    errors[is_whole] = 0
    return Estimate(values, errors)


@dataclass(frozen=True, slots=True)
class _WeightedVote:
    """The rule as an aggregator."""

    gamma: float

    @property
    def needs_scores(self) -> bool:
        return True

    def choose(self, classes: IntArray, scores: FloatArray | None) -> IntArray:
        """Return the class with the largest sum of powers in each row."""
        assert scores is not None  # monte_carlo_at_k has checked
        return weighted_choice(classes, scores, self.gamma)
