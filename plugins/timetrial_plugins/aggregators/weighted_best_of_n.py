"""Weighted Best-of-N: a vote in which each sample weighs what the reward model gives it (Li et al. 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import timetrial


class WeightedBestOfN:
    """Chooses the answer with the largest sum of scores. No closed form is known: its curve comes from permutations."""

    needs_scores = True

    def choose(self, classes: NDArray[np.int64], scores: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """Return the class with the largest sum of scores in each row, the earliest among equals."""
        assert scores is not None
        return timetrial.weighted_choice(classes, scores)
