"""The three rules as decisions: which answer class each row of votes elects, ties going to the earliest sample.

Rows are R independent random k-subsets in random order, so the earliest is a uniform tie-break in expectation.
Class numbers start at 0 and -1 abstains; a row in which nobody votes elects -1. A classes.
"""

from __future__ import annotations

import numpy as np

from timetrial.statistics.table import BoolArray, FloatArray, IntArray, VoteTable


def majority_choice(classes: IntArray) -> IntArray:
    """Return the class with the most votes in each row of `classes` (R, k), (R,)."""
    return _elect(classes, _leaders(classes, None))


def weighted_choice(classes: IntArray, scores: FloatArray, gamma: float = 1.0) -> IntArray:
    """Return the class with the largest sum of `scores` ** `gamma`, (R, k), in each row of `classes` (R, k), (R,).

    Raises:
        ValueError: `gamma` is neither 0 nor 1, and a score is negative.
    """
    return _elect(classes, _leaders(classes, powers(classes, scores, gamma)))


def best_of_choice(classes: IntArray, scores: FloatArray) -> IntArray:
    """Return the class of the sample with the highest of `scores` (R, k) in each row of `classes` (R, k), (R,)."""
    best = np.argmax(np.where(classes >= 0, scores, -np.inf), axis=1)
    # Where all abstain every score is minus infinity, and the first sample's class is -1 as it should be.
    return np.asarray(np.take_along_axis(classes, best[:, None], axis=1)[:, 0])


def powers(classes: IntArray, scores: FloatArray, gamma: float) -> FloatArray:
    """Return `scores` (R, k) to the power `gamma`, from 0 (all 1) to infinity; abstaining samples count for nothing.

    But for gamma 0 and 1 each row is scaled so that its largest score becomes 1, which no vote depends on: nothing
    overflows, and a large gamma leaves the largest rather than nothing. At infinity only the largest weigh. The power
    of a score of 0 is 0, and at gamma 0 it is 1 as any other's.

    Raises:
        ValueError: `gamma` is neither 0 nor 1, and the score of a sample that votes is negative.
    """
    if gamma == 1:
        return scores
    if gamma == 0:
        return np.ones_like(scores)
    votes = np.where(classes >= 0, scores, 0.0)
    if votes.min(initial=0) < 0:
        raise ValueError(f"a score is {votes.min()}: a negative number has no power {gamma:g}")
    logs = np.log(votes, where=votes > 0, out=np.full(votes.shape, -np.inf))
    top = logs.max(axis=1, keepdims=True)
    top[top == -np.inf] = 0  # all scores are 0, and so are their powers
    return np.asarray((logs == top).astype(np.float64) if gamma == np.inf else np.exp(gamma * (logs - top)))


def whole_pool_value(table: VoteTable, weights: FloatArray | None = None) -> FloatArray:
    """Return what a vote of all N samples with `weights` (P, N) (None: equal ones) is worth, (P,).

    A tie is worth the share of right classes among the tied, and a vote without voters nothing.
    """
    leads = _leaders(table.classes, weights)[:, 1:]
    num_right = (leads & table.correct[:, : leads.shape[1]]).sum(axis=1)
    return np.asarray(num_right / np.maximum(leads.sum(axis=1), 1))


def _leaders(classes: IntArray, weights: FloatArray | None) -> BoolArray:
    """Return which classes share the largest sum of `weights` (R, k) (None: of votes) in each row, (R, 1 + A).

    Column 0 stands for the abstentions, which never lead; nor does a class that nobody votes for, whatever the signs
    of the weights. A is one more than the largest class number that occurs.
    """
    num_rows = len(classes)
    width = int(classes.max(initial=-1)) + 2
    slots = (classes + (1 + np.arange(num_rows)[:, None] * width)).ravel()
    totals = np.bincount(slots, weights=None if weights is None else weights.ravel(), minlength=num_rows * width)
    totals = totals.reshape(num_rows, width).astype(np.float64)
    if weights is None or weights.min(initial=1) > 0:
        has_votes = totals > 0
    else:
        has_votes = np.bincount(slots, minlength=num_rows * width).reshape(num_rows, width) > 0
    has_votes[:, 0] = False
    totals[~has_votes] = -np.inf
    return np.asarray(has_votes & (totals == totals.max(axis=1, keepdims=True)))


def _elect(classes: IntArray, leads: BoolArray) -> IntArray:
    """Return the leading class of each row, (R,): among several the one voted for first, -1 if there is none."""
    chosen = leads.argmax(axis=1) - 1  # without a leader column 0, which stands for class -1
    tied = np.flatnonzero(leads.sum(axis=1) > 1)
    if len(tied):
        earliest = np.take_along_axis(leads[tied], classes[tied] + 1, axis=1).argmax(axis=1)
        chosen[tied] = classes[tied, earliest]
    return np.asarray(chosen)
