"""Weighted Best-of-N: a vote in which each sample weighs what the reward model gives it (Li et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import timetrial


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightedBestOfN:
    """Chooses the answer with the largest sum of scores. No closed form is known: its curve comes from permutations."""

    gamma: float = 1.0
    """The power that scores are raised to before they are added up."""

    @property
    def needs_scores(self) -> bool:
        """Always."""
        return True

    def with_gamma(self, gamma: float) -> WeightedBestOfN:
        """Return the rule with another power: 0 is a majority vote, a large one tends to Best-of-N."""
        return replace(self, gamma=gamma)

    def choose(self, classes: NDArray[np.int64], scores: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """Return the class with the largest sum of powers in each row, the earliest among equals."""
        assert scores is not None
        return timetrial.weighted_choice(classes, scores, self.gamma)
