"""What huggingface/search-and-learn computes: the first k samples, the first group on a tie, empty answers voting.

For comparison with published numbers only: the first k samples are one subset of many, and add noise that the other
estimators average out. Columns of the table must be in the order of the dump. P problems, N samples, K values of k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from timetrial.statistics.choice import best_of_choice, majority_choice, weighted_choice
from timetrial.statistics.table import FloatArray, IntArray, VoteTable

ReplayRule = Literal["majority", "naive", "weighted"]


def search_and_learn_at_k(
    table: VoteTable, ks: Sequence[int], rule: ReplayRule, *, empty_votes: bool = True
) -> FloatArray:
    """Return whether each problem is solved by its first k samples, (P, K) of 0 and 1.

    With `empty_votes` all completions without an answer form one answer class that can win, and is then wrong.

    Raises:
        ValueError: a k is out of range, the rule is unknown, or it needs scores and the table has none.
    """
    table.check_ks(ks)
    num_problems, num_classes = table.correct.shape
    classes = np.where((table.classes < 0) & empty_votes, num_classes, table.classes)
    correct = np.pad(table.correct, ((0, 0), (0, 2)))  # the empty answer, and -1 for no choice: both wrong
    columns = [correct[np.arange(num_problems), _choose(rule, table, classes, k)] for k in ks]
    return np.stack(columns, axis=1).astype(np.float64)


def _choose(rule: ReplayRule, table: VoteTable, classes: IntArray, k: int) -> IntArray:
    if rule == "majority":
        return majority_choice(classes[:, :k])
    if rule == "naive":
        return best_of_choice(classes[:, :k], table.require_scores()[:, :k])
    if rule == "weighted":
        return weighted_choice(classes[:, :k], table.require_scores()[:, :k])
    raise ValueError(f"unknown rule {rule!r}; expected majority, naive or weighted")
