"""Compare curves that answer the same question, on the problems they share.

Replicates draw the problems once for all curves of a comparison, which pairs them, and the seconds of each model.
P problems, K values of k, B replicates.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from timetrial.accounting import GENERATION, charged
from timetrial.analysis import Comparison, PairedDifference
from timetrial.record import Accounting, Curve
from timetrial.stages import timed
from timetrial.stages.estimates import COVERAGE
from timetrial.stages.times import RunTimes
from timetrial.statistics.bootstrap import bootstrap_weights, paired_difference
from timetrial.statistics.budget import budget_ladder
from timetrial.statistics.table import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemCurve:
    """A curve with the values of every problem, which its means came from."""

    curve: Curve
    problems: tuple[str, ...]
    values: FloatArray
    """(P, K)"""

    def values_of(self, problems: Sequence[str], ks: Sequence[int]) -> FloatArray:
        """Return the values of some problems at some ks, in that order."""
        row = {problem: place for place, problem in enumerate(self.problems)}
        values = self.values[[row[problem] for problem in problems]]
        return values[:, [self.curve.ks.index(k) for k in ks]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """What to compare at, and how precisely."""

    replicates: int = 2_000
    seed: int = 0
    levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Values at which times to reach and speed-ups are reported."""
    budgets_s: tuple[float, ...] | None = None
    """Seconds at which the best value is reported; None: round ones (1, 2, 5, 10, ...) within the measured range."""


class Question(NamedTuple):
    """What the curves of a comparison have in common."""

    task: str
    rule: str | None
    """None: every rule that chooses an answer."""
    reward_model: str | None
    accounting: Accounting | None

    def takes(self, curve: Curve) -> bool:
        """Whether a curve belongs to the comparison; of two that differ in their accounting alone, one question's."""
        if self.rule is None:
            return curve.task == self.task and curve.rule != COVERAGE
        return (curve.task, curve.rule, curve.reward_model, curve.accounting) == self


def compare(curves: Sequence[ProblemCurve], times: RunTimes, settings: ComparisonSettings) -> tuple[Comparison, ...]:
    """Compare, task by task, the curves of each rule and accounting, and then all rules that choose an answer together.

    Together they are compared by all that they cost, as far as it is known.
    """
    comparisons = []
    for question in _questions(item.curve for item in curves):
        members = {place: item for place, item in enumerate(curves) if question.takes(item.curve)}
        if question.rule is None:
            kept = {id(curve) for curve in charged(item.curve for item in members.values())}
            members = {place: item for place, item in members.items() if id(item.curve) in kept}
        comparison = _on_common_problems(question, members, settings)
        of_task = [times.of(item.curve) for item in curves if item.curve.task == question.task]
        seconds = [second for known in of_task if known is not None for second in known.seconds]
        if seconds and comparison.num_problems:
            comparison = replace(comparison, time_range_s=(float(min(seconds)), float(max(seconds))))
            comparison = _against_seconds(comparison, members, times, settings)
        comparisons.append(comparison)
    return tuple(comparisons)


def _questions(curves: Iterable[Curve]) -> list[Question]:
    by_task: dict[str, list[Question]] = {}
    for curve in curves:
        question = Question(curve.task, curve.rule, curve.reward_model, curve.accounting)
        by_task.setdefault(curve.task, []).append(question)
    questions: list[Question] = []
    for task, asked in by_task.items():
        questions += dict.fromkeys(asked)
        if any(question.rule != COVERAGE for question in asked):
            questions.append(Question(task, None, None, None))
    return questions


def _common_problems(members: Mapping[int, ProblemCurve]) -> list[str]:
    return sorted(set.intersection(*(set(item.problems) for item in members.values())))


def _on_common_problems(
    question: Question, members: Mapping[int, ProblemCurve], settings: ComparisonSettings
) -> Comparison:
    """Return what needs no seconds: the paired differences of every pair of curves."""
    common = _common_problems(members)
    differences: list[PairedDifference] = []
    if common and question.rule is not None and question.accounting == GENERATION:
        weights = bootstrap_weights(len(common), settings.replicates, settings.seed)
        for (curve, item), (baseline, other) in itertools.combinations(members.items(), 2):
            ks = tuple(k for k in item.curve.ks if k in other.curve.ks)
            interval = paired_difference(item.values_of(common, ks), other.values_of(common, ks), weights)
            difference = PairedDifference(
                curve=curve,
                baseline=baseline,
                ks=ks,
                differences=tuple(interval.mean.tolist()),
                low=tuple(interval.low.tolist()),
                high=tuple(interval.high.tolist()),
            )
            differences.append(difference)
    return Comparison(
        task=question.task,
        rule=question.rule,
        reward_model=question.reward_model,
        accounting=question.accounting,
        curves=tuple(members),
        num_problems=len(common),
        differences=tuple(differences),
    )


def _against_seconds(
    comparison: Comparison,
    members: Mapping[int, ProblemCurve],
    times: RunTimes,
    settings: ComparisonSettings,
) -> Comparison:
    """Add what needs seconds: all of it for one rule, the front alone for all rules together."""
    time_range_s = comparison.time_range_s
    assert time_range_s is not None
    common = _common_problems(members)
    weights = bootstrap_weights(len(common), settings.replicates, settings.seed)
    curves = []
    for place, item in members.items():
        seconds = times.of(item.curve)
        if seconds is not None:
            values = item.values_of(common, item.curve.ks)
            curve = timed.TimedCurve(
                index=place,
                curve=item.curve,
                values=values.mean(axis=0),
                value_replicates=weights @ values,
                seconds=seconds.seconds,
                second_replicates=seconds.replicates,
            )
            curves.append(curve)
    front, shares = timed.pareto_front(curves, time_range_s)
    comparison = replace(comparison, front=front, front_shares=shares)
    if comparison.rule is None:
        return comparison
    budgets_s = budget_ladder(*time_range_s) if settings.budgets_s is None else settings.budgets_s
    return replace(
        comparison,
        budget_values=timed.budget_values(curves, budgets_s),
        times_to_reach=timed.times_to_reach(curves, settings.levels),
        speed_ups=timed.speed_ups(curves, settings.levels),
        areas=timed.areas(curves, time_range_s),
    )
