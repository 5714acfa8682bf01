"""The table every estimator reads: which answer class each sample voted for, and which classes are right.

P problems, N samples per problem, A the largest number of answer classes of a problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

IntArray = np.ndarray[Any, np.dtype[np.int64]]
FloatArray = np.ndarray[Any, np.dtype[np.float64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True, slots=True)
class VoteTable:
    """All samples of one series. Rows are problems, columns samples; sample order carries no meaning."""

    problems: tuple[str, ...]
    """Problem ids, one per row."""
    classes: IntArray
    """(P, N) answer class of each sample, numbered from 0 within its problem; -1 abstains."""
    correct: BoolArray
    """(P, A) whether an answer class is right. Classes a problem does not have are False."""
    scores: FloatArray | None = None
    """(P, N) reduced reward-model score of each sample, or None."""

    def __post_init__(self) -> None:
        """Check that the shapes agree.

        Raises:
            ValueError: shapes disagree, a class number is out of range, or a score is not finite.
        """
        num_problems, num_classes = self.correct.shape
        if self.classes.shape[0] != num_problems or len(self.problems) != num_problems:
            raise ValueError(
                f"{len(self.problems)} problem ids, classes of shape {self.classes.shape} and "
                f"correct of shape {self.correct.shape} do not describe the same problems"
            )
        if self.scores is not None and self.scores.shape != self.classes.shape:
            raise ValueError(f"scores have shape {self.scores.shape}, classes {self.classes.shape}")
        if self.classes.size and not -1 <= int(self.classes.min()) <= int(self.classes.max()) < num_classes:
            raise ValueError(f"answer classes must lie between -1 and {num_classes - 1}")
        if self.scores is not None and not np.isfinite(self.scores).all():
            row, column = np.argwhere(~np.isfinite(self.scores))[0]
            raise ValueError(f"sample {column} of problem {self.problems[row]!r} has score {self.scores[row, column]}")

    @property
    def num_samples(self) -> int:
        """N, the samples per problem."""
        return int(self.classes.shape[1])

    @property
    def sample_correct(self) -> BoolArray:
        """(P, N) whether each sample is right; abstaining samples are not."""
        # Class -1 indexes the padding column, which is False.
        padded = np.pad(self.correct, ((0, 0), (0, 1)))
        return np.take_along_axis(padded, self.classes, axis=1)

    def require_scores(self) -> FloatArray:
        """Return the scores, (P, N).

        Raises:
            ValueError: there are none.
        """
        if self.scores is None:
            raise ValueError("this rule weighs samples by reward-model scores, and the table has none")
        return self.scores

    def check_ks(self, ks: Sequence[int]) -> None:
        """Refuse a k that the pool cannot serve.

        Raises:
            ValueError: a k is below 1 or above N.
        """
        bad = [k for k in ks if not 1 <= k <= self.num_samples]
        if bad:
            raise ValueError(f"k = {bad[0]} needs 1 <= k <= {self.num_samples}, the samples there are per problem")
