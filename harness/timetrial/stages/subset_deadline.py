"""The value of a rule at deadlines by random subsets of each problem's samples, in a batch of either mode.

Subsets are prefixes of random orders that depend on the seed and the problem's id alone: all rules, ks and deadlines
see the same ones.
P problems, N samples, K values of k, T deadlines, R subsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from timetrial.error import PluginError
from timetrial.protocol import Aggregator
from timetrial.stages.lengths import LengthPool
from timetrial.stages.pools import VotePool
from timetrial.statistics.deadline import random_orders, subset_finish_s
from timetrial.statistics.reduction import Reduction
from timetrial.statistics.step_seconds import StepSeconds
from timetrial.statistics.subset_seconds import Mode
from timetrial.statistics.table import BoolArray, FloatArray, IntArray, VoteTable


class Rule(NamedTuple):
    """What chooses, whose scores it takes, how they were reduced, and the power they were raised to."""

    name: str
    reward_model: str | None
    reduction: Reduction | None
    gamma: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetPool:
    """Votes and lengths of the same problems, in the same order, and when their completions are finished."""

    votes: VotePool
    lengths: LengthPool
    steps: StepSeconds
    mode: Mode
    ks: tuple[int, ...]
    deadlines_s: tuple[float, ...]
    scoring_s: FloatArray
    """(K,) seconds that the samples take to be scored once all are finished; 0 for rules without scores."""


class SubsetValues(NamedTuple):
    """What the drawn subsets are worth."""

    values: FloatArray
    """(P, K, T) share of the subsets on which the rule is right."""
    is_certain: BoolArray
    """(P, K, T) whether every subset of k is finished by then: the deadline does not matter any more."""


def subset_values(
    pool: SubsetPool, rule: Rule, aggregator: Aggregator | None, *, subsets: int, seed: int
) -> SubsetValues:
    """Return what a rule is worth at the deadlines; without an aggregator, as coverage is.

    Raises:
        PluginError: the aggregator fails or breaks its contract.
    """
    table = pool.votes.table if rule.reward_model is None else pool.votes.scored[rule.reward_model]
    deadlines = np.asarray(pool.deadlines_s)
    shape = (len(table.problems), len(pool.ks), len(deadlines))
    values, is_certain = np.zeros(shape), np.zeros(shape, dtype=bool)
    for row, problem in enumerate(table.problems):
        prompt, lengths = int(pool.lengths.prompt_tokens[row]), pool.lengths.lengths[row]
        longest = np.sort(lengths)[::-1]
        orders = random_orders(problem, len(lengths), subsets, seed)
        singles = np.arange(len(lengths))[:, None]
        for column, k in enumerate(pool.ks):
            members = orders[:, :k] if k > 1 else singles  # all of those there are
            finish_s = subset_finish_s(pool.steps, pool.mode, prompt, lengths[members]) + pool.scoring_s[column]
            # No batch of k is larger at any step than that of the k longest, so none takes longer, unless a larger
            # batch was measured to be quicker; what was drawn counts in any case.
            latest_s = subset_finish_s(pool.steps, pool.mode, prompt, longest[None, :k]).max()
            is_certain[row, column] = deadlines >= max(latest_s + pool.scoring_s[column], finish_s.max())
            open_at = np.flatnonzero((deadlines >= finish_s.min()) & ~is_certain[row, column])
            if len(open_at):
                try:
                    hits = _hits(table, row, members, finish_s, deadlines[open_at], aggregator)
                except Exception as cause:  # a plugin may raise anything
                    message = f"aggregator {rule.name!r} failed at a deadline: {type(cause).__name__}: {cause}"
                    raise PluginError(message) from cause
                values[row, column, open_at] = hits.mean(axis=1)
    return SubsetValues(values, is_certain)


def _hits(
    table: VoteTable,
    row: int,
    members: IntArray,
    finish_s: FloatArray,
    deadlines_s: FloatArray,
    aggregator: Aggregator | None,
) -> BoolArray:
    """Return whether the rule is right on each subset, (R, k) samples of one problem, at each deadline, (T, R)."""
    classes = table.classes[row][members]
    right = np.append(table.correct[row], False)  # class -1 reads the last entry: no choice is wrong
    if aggregator is None:
        first_s = np.where(right[classes], finish_s, np.inf).min(axis=1)
        return np.asarray(first_s <= deadlines_s[:, None])
    shape = (len(deadlines_s), *members.shape)
    votes = np.where(finish_s <= deadlines_s[:, None, None], classes, -1).reshape(-1, shape[2])
    scores = None
    if aggregator.needs_scores:
        scores = np.broadcast_to(table.require_scores()[row][members], shape).reshape(-1, shape[2])
    return np.asarray(right[np.asarray(aggregator.choose(votes, scores))].reshape(shape[:2]))
