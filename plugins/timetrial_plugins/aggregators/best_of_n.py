"""Best-of-N: trust the reward model's favourite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import timetrial


class BestOfN:
    """Chooses the answer of the sample with the highest score."""

    needs_scores = True

    def choose(self, classes: NDArray[np.int64], scores: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """Return the class of each row's best-scored sample that gives an answer, the earliest among equals."""
        assert scores is not None
        return timetrial.best_of_choice(classes, scores)

    def expected_accuracy(self, table: timetrial.VoteTable, ks: Sequence[int]) -> NDArray[np.float64]:
        """Return the exact accuracy over all k-subsets."""
        return timetrial.best_of_k(table, ks)
