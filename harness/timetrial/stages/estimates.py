"""Apply every rule to one pool of samples. The only place where the curves stage calls an aggregator.

P problems, K values of k.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from timetrial.error import PluginError
from timetrial.protocol import Aggregator, ExactAggregator, WeighingAggregator
from timetrial.stages.pools import CountPool, VotePool
from timetrial.statistics.coverage import pass_at_k, pass_at_k_from_counts
from timetrial.statistics.monte_carlo import DEFAULT_PERMUTATIONS, Estimate, monte_carlo_at_k
from timetrial.statistics.table import FloatArray, VoteTable

COVERAGE = "coverage"
_ROUNDING = 1e-9  # what an exact form may be off by


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to estimate, and how precisely."""

    ks: tuple[int, ...]
    """Ascending. A pool uses those that its samples allow."""
    permutations: int = DEFAULT_PERMUTATIONS
    """Per problem, for rules without a closed form."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleEstimate:
    """A rule's expected accuracy on every problem of a pool."""

    rule: str
    reward_model: str | None = None
    gamma: float = 1.0
    """The power that scores were raised to before they were added up."""
    problems: tuple[str, ...]
    ks: tuple[int, ...]
    values: FloatArray
    """(P, K)"""
    monte_carlo_errors: FloatArray | None = None
    """(K,); None if the values are exact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoEstimate:
    """A rule that a pool cannot serve, and why."""

    rule: str | None
    """None: no rule at all."""
    reason: str


def estimate_rules(
    pool: VotePool | CountPool, aggregators: Mapping[str, Aggregator], plan: Plan
) -> Iterator[RuleEstimate | NoEstimate]:
    """Yield coverage, then each aggregator: once, or once per reward model if it needs scores.

    Raises:
        PluginError: an aggregator fails or breaks its contract.
    """
    ks = tuple(k for k in plan.ks if k <= pool.num_samples)
    if not pool.problems:
        yield NoEstimate(rule=None, reason=f"none of its {pool.num_left_out} problems has all samples graded")
    elif not ks:
        yield NoEstimate(rule=None, reason=f"{pool.num_samples} samples per problem allow no k of {plan.ks}")
    elif isinstance(pool, CountPool):
        values = pass_at_k_from_counts(pool.totals, pool.num_correct, ks)
        yield RuleEstimate(rule=COVERAGE, problems=pool.problems, ks=ks, values=values)
        for name in aggregators:
            yield NoEstimate(rule=name, reason="only counts were imported: there are no answers to choose from")
    else:
        yield RuleEstimate(rule=COVERAGE, problems=pool.problems, ks=ks, values=pass_at_k(pool.table, ks))
        for name, aggregator in aggregators.items():
            yield from _estimate(name, aggregator, pool, Plan(ks=ks, permutations=plan.permutations, seed=plan.seed))


def _estimate(name: str, aggregator: Aggregator, pool: VotePool, plan: Plan) -> Iterator[RuleEstimate | NoEstimate]:
    if not aggregator.needs_scores:
        yield _rule_estimate(name, aggregator, None, pool.table, plan)
        return
    if not pool.scored:
        yield NoEstimate(rule=name, reason="it needs step scores, and no reward model has scored the samples")
    for reward_model, table in pool.scored.items():
        if not table.problems:
            yield NoEstimate(rule=name, reason=f"{reward_model} has not scored all answers of any problem")
        elif _lacks_power(aggregator, table):
            reason = f"{reward_model} gives negative scores, which have no power {gamma_of(aggregator):g}"
            yield NoEstimate(rule=name, reason=reason)
        else:
            yield _rule_estimate(name, aggregator, reward_model, table, plan)


def gamma_of(aggregator: Aggregator | None) -> float:
    """Return the power that a rule raises scores to; 1 for one that adds none up, as coverage, which is no rule."""
    return aggregator.gamma if isinstance(aggregator, WeighingAggregator) else 1.0


def _lacks_power(aggregator: Aggregator, table: VoteTable) -> bool:
    return gamma_of(aggregator) not in (0, 1) and bool(table.require_scores().min() < 0)


def _rule_estimate(
    name: str, aggregator: Aggregator, reward_model: str | None, table: VoteTable, plan: Plan
) -> RuleEstimate:
    try:
        estimate = _expected_accuracy(aggregator, table, plan)
    except Exception as cause:  # a plugin may raise anything
        raise PluginError(f"aggregator {name!r} failed: {type(cause).__name__}: {cause}") from cause
    return RuleEstimate(
        rule=name,
        reward_model=reward_model,
        gamma=gamma_of(aggregator),
        problems=table.problems,
        ks=plan.ks,
        values=estimate.values,
        monte_carlo_errors=None if isinstance(aggregator, ExactAggregator) else estimate.monte_carlo_errors,
    )


def _expected_accuracy(aggregator: Aggregator, table: VoteTable, plan: Plan) -> Estimate:
    if not isinstance(aggregator, ExactAggregator):
        return monte_carlo_at_k(table, aggregator, plan.ks, permutations=plan.permutations, seed=plan.seed)
    values = np.asarray(aggregator.expected_accuracy(table, plan.ks), dtype=np.float64)
    expected = (len(table.problems), len(plan.ks))
    if values.shape != expected:
        raise ValueError(f"expected_accuracy must return shape {expected}, not {values.shape}")
    if not ((values > -_ROUNDING) & (values < 1 + _ROUNDING)).all():
        raise ValueError("expected_accuracy must return values between 0 and 1")
    return Estimate(np.clip(values, 0, 1), np.zeros(len(plan.ks)))
