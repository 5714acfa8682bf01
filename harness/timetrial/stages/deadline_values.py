"""What every rule is worth when the clock stops at T and unfinished completions abstain, problem by problem.

What a static batch has finished at T is known for each completion, so the closed forms of the rules that have one stay
exact. What a compact batch has finished depends on the subset, so subsets are drawn, as they are for the other rules.
Once even the k longest completions are finished, the deadline does not matter, and a rule's ordinary estimate stands.
P problems, N samples, K values of k, T deadlines.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from timetrial.protocol import Aggregator, ExactAggregator
from timetrial.stages.estimates import COVERAGE, Plan, RuleEstimate, estimate_rules
from timetrial.stages.lengths import LengthPool
from timetrial.stages.pools import VotePool
from timetrial.stages.subset_deadline import Rule, SubsetPool, SubsetValues, subset_values
from timetrial.statistics.deadline import static_finish_s
from timetrial.statistics.monte_carlo import DEFAULT_PERMUTATIONS
from timetrial.statistics.reduction import Reduction
from timetrial.statistics.step_seconds import StepSeconds
from timetrial.statistics.subset_seconds import Mode
from timetrial.statistics.table import BoolArray, FloatArray, VoteTable


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadlineSettings:
    """How precisely to estimate."""

    replicates: int = 2_000
    draws: int = 16_384
    """Subsets of each k, all problems together, for compact batches and for rules without a closed form."""
    permutations: int = DEFAULT_PERMUTATIONS
    """Of each problem, for those rules once every completion is finished."""
    seed: int = 0
    reduction: Reduction = "last"
    """How the step scores in the pools were reduced."""

    def subsets_of(self, num_problems: int) -> int:
        """Return how many subsets to draw of each problem: 32 to 256, the fewer the more problems."""
        return min(max(self.draws // num_problems, 32), 256)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One series: its votes, its lengths, and the seconds of its model's steps."""

    votes: VotePool
    lengths: LengthPool
    steps: StepSeconds
    ks: tuple[int, ...]
    """None above the samples there are, or above the largest batch."""
    scoring: Mapping[str, FloatArray] = field(default_factory=dict)
    """By reward model that was timed, seconds of scoring k samples, (K,)."""

    def scoring_s(self, reward_model: str | None) -> FloatArray:
        """Return the seconds of scoring k samples, (K,): 0 without a reward model, or where they are not known."""
        known = None if reward_model is None else self.scoring.get(reward_model)
        return np.zeros(len(self.ks)) if known is None else known


class StopClock(NamedTuple):
    """When to stop, and what becomes of finished rows until then."""

    mode: Mode
    deadlines_s: tuple[float, ...]
    """(T,)"""


class Values(NamedTuple):
    """A rule's value at every deadline."""

    values: FloatArray
    """(P, K, T)"""
    errors: FloatArray
    """(K, T) Monte Carlo standard errors of the means over problems; 0 where exact."""


def deadline_values(
    contender: Contender, clock: StopClock, aggregators: Mapping[str, Aggregator], settings: DeadlineSettings
) -> dict[Rule, Values]:
    """Return the value of every rule: by its estimator where that is exact, else by drawn subsets.

    A rule that takes scores has chosen when its k samples are scored as well, if it is known how long that takes.
    """
    whole = _estimates(contender.votes, aggregators, contender.ks, settings)
    exact = {name: rule for name, rule in aggregators.items() if isinstance(rule, ExactAggregator)}
    made: dict[Rule, Values] = {}
    if clock.mode == "static":
        for reward_model in dict.fromkeys(rule.reward_model for rule in whole):
            made |= _static_values(_asked(contender, reward_model), clock.deadlines_s, exact, whole, settings)
    subsets = settings.subsets_of(len(contender.lengths.problems))
    for rule, estimate in whole.items():
        if rule not in made:
            pool = SubsetPool(
                votes=contender.votes,
                lengths=contender.lengths,
                steps=contender.steps,
                mode=clock.mode,
                ks=contender.ks,
                deadlines_s=clock.deadlines_s,
                scoring_s=contender.scoring_s(rule.reward_model),
            )
            drawn = subset_values(pool, rule, aggregators.get(rule.name), subsets=subsets, seed=settings.seed)
            made[rule] = _joined(drawn, estimate, np.array([subsets if k > 1 else np.inf for k in contender.ks]))
    return {rule: made[rule] for rule in whole}


class _Asked(NamedTuple):
    """A contender, and the one reward model whose rules are asked about; None: the rules without scores."""

    contender: Contender
    reward_model: str | None


def _asked(contender: Contender, reward_model: str | None) -> _Asked:
    scored = {name: table for name, table in contender.votes.scored.items() if name == reward_model}
    return _Asked(replace(contender, votes=replace(contender.votes, scored=scored)), reward_model)


def _joined(drawn: SubsetValues, estimate: RuleEstimate, subsets: FloatArray) -> Values:
    """Take what was drawn, and the rule's own estimate from where the deadline does not matter any more.

    `subsets` (K,) are those drawn of each problem; infinite where all there are were tried.
    """
    values = np.where(drawn.is_certain, estimate.values[:, :, None], drawn.values)
    variances = np.where(drawn.is_certain, 0.0, drawn.values * (1 - drawn.values) / (subsets[:, None] - 1))
    known = _errors(estimate)[:, None] * np.sqrt(drawn.is_certain.mean(axis=0))
    return Values(values, np.hypot(np.sqrt(variances.sum(axis=0)) / len(values), known))


def _static_values(
    asked: _Asked,
    deadlines_s: Sequence[float],
    exact: Mapping[str, Aggregator],
    whole: Mapping[Rule, RuleEstimate],
    settings: DeadlineSettings,
) -> dict[Rule, Values]:
    """Return the values of coverage and of the aggregators with a closed form, problem by problem as far as it ends."""
    contender, reward_model = asked
    shape = (len(contender.ks), len(deadlines_s))
    exact = {name: rule for name, rule in exact.items() if rule.needs_scores is (reward_model is not None)}
    rules = [rule for rule in whole if rule.reward_model == reward_model and rule.name in (COVERAGE, *exact)]
    scoring_s = contender.scoring_s(reward_model)
    made = {rule: Values(np.zeros((len(contender.lengths.problems), *shape)), np.zeros(shape)) for rule in rules}
    for row, k in enumerate(contender.ks):
        finish_s = (
            static_finish_s(contender.steps, contender.lengths.prompt_tokens, contender.lengths.lengths, k)
            + scoring_s[row]
        )
        for column, deadline_s in enumerate(deadlines_s):
            is_finished = finish_s <= deadline_s
            is_whole = is_finished.all(axis=1)
            for rule in rules:
                made[rule].values[is_whole, row, column] = whole[rule].values[is_whole, row]
            is_open: BoolArray = np.asarray(is_finished.any(axis=1) & ~is_whole)
            if is_open.any():
                votes = _finished(contender.votes, is_finished, is_open)
                for rule, estimate in _estimates(votes, exact, (k,), settings).items():
                    if rule in made:  # coverage comes along with the rules that take scores
                        made[rule].values[is_open, row, column] = estimate.values[:, 0]
    return made


def _estimates(
    votes: VotePool, aggregators: Mapping[str, Aggregator], ks: tuple[int, ...], settings: DeadlineSettings
) -> dict[Rule, RuleEstimate]:
    plan = Plan(ks=ks, permutations=settings.permutations, seed=settings.seed)
    made = [item for item in estimate_rules(votes, aggregators, plan) if isinstance(item, RuleEstimate)]
    return {
        Rule(item.rule, item.reward_model, settings.reduction if item.reward_model else None, item.gamma): item
        for item in made
    }


def _errors(estimate: RuleEstimate) -> FloatArray:
    return np.zeros(len(estimate.ks)) if estimate.monte_carlo_errors is None else estimate.monte_carlo_errors


def _finished(votes: VotePool, is_finished: BoolArray, chosen: BoolArray) -> VotePool:
    """Keep the chosen problems, (P,), and let their samples that are not finished, (P, N), abstain."""

    def masked(table: VoteTable) -> VoteTable:
        return VoteTable(
            problems=tuple(itertools.compress(table.problems, chosen)),
            classes=np.where(is_finished[chosen], table.classes[chosen], -1),
            correct=table.correct[chosen],
            scores=None if table.scores is None else table.scores[chosen],
        )

    scored = {name: masked(table) for name, table in votes.scored.items()}
    return replace(votes, table=masked(votes.table), scored=scored)
