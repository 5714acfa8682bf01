"""Majority voting, or self-consistency (Wang et al. 2022, arXiv 2203.11171)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import timetrial


class Majority:
    """Chooses the answer with the most votes."""

    needs_scores = False

    def choose(self, classes: NDArray[np.int64], scores: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """Return the most frequent class of each row, the earliest among equals."""
        return timetrial.majority_choice(classes)

    def expected_accuracy(self, table: timetrial.VoteTable, ks: Sequence[int]) -> NDArray[np.float64]:
        """Return the exact accuracy over all k-subsets."""
        return timetrial.majority_at_k(table, ks)
