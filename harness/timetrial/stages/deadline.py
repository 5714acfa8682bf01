"""Deadline curves: the best of all k at each deadline, with its band, and how the models of a task differ.

P problems, K values of k, T deadlines, B replicates.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from timetrial.accounting import GENERATION, WITH_VERIFIER
from timetrial.progress import Advance
from timetrial.protocol import Aggregator
from timetrial.replay_record import DeadlineCurve, DeadlineDifference
from timetrial.stages.deadline_values import Contender, DeadlineSettings, StopClock, Values, deadline_values
from timetrial.stages.subset_deadline import Rule
from timetrial.statistics.bootstrap import bootstrap_weights, percentile_interval
from timetrial.statistics.deadline import deadline_ladder, static_finish_s
from timetrial.statistics.subset_seconds import MODES
from timetrial.statistics.table import FloatArray, IntArray, VoteTable


class DeadlineCurves(NamedTuple):
    """The curves of a task, and the differences between those of equal rule and mode."""

    curves: tuple[DeadlineCurve, ...]
    differences: tuple[DeadlineDifference, ...]
    """Places count from the first of these curves."""


def common_problems(contenders: Sequence[Contender]) -> tuple[str, ...]:
    """Return the problems of which every contender has all samples graded, measured in length, and scored."""
    known: list[set[str]] = []
    for contender in contenders:
        tables = (contender.votes.table, *contender.votes.scored.values())
        known += [set(contender.lengths.problems), *(set(table.problems) for table in tables)]
    return tuple(sorted(set.intersection(*known))) if known else ()


def deadline_curves(
    contenders: Sequence[Contender],
    aggregators: Mapping[str, Aggregator],
    settings: DeadlineSettings,
    advance: Advance = lambda count: None,
) -> DeadlineCurves:
    """Return the deadline curves of one task's contenders, all at the same deadlines and on the same problems.

    There is at least one common problem. `advance` is called twice per contender.

    Raises:
        PluginError: an aggregator fails or breaks its contract.
    """
    problems = common_problems(contenders)
    fields = [_on(contender, problems) for contender in contenders]
    deadlines_s = deadline_ladder(min(map(_first_s, fields)), max(map(_last_s, fields)))
    weights = bootstrap_weights(len(problems), settings.replicates, settings.seed)
    curves: list[DeadlineCurve] = []
    replicates: list[FloatArray] = []
    for field, mode in itertools.product(fields, MODES):
        clock = StopClock(mode, deadlines_s)
        for rule, values in deadline_values(field, clock, aggregators, settings).items():
            drawn = weights @ values.values.reshape(len(problems), -1)  # (B, K T)
            replicates.append(drawn.reshape(-1, len(field.ks), len(deadlines_s)).max(axis=1))
            curves.append(_curve(field, clock, rule, values, replicates[-1]))
        advance(1)
    return DeadlineCurves(tuple(curves), tuple(_differences(curves, replicates)))


def _on(contender: Contender, problems: Sequence[str]) -> Contender:
    """Keep the given problems, in that order, in every table."""
    lengths, rows = contender.lengths, contender.lengths.rows_of(problems)
    votes = contender.votes
    return replace(
        contender,
        votes=replace(
            votes,
            table=_rows_of(votes.table, problems),
            scored={name: _rows_of(table, problems) for name, table in votes.scored.items()},
        ),
        lengths=replace(
            lengths,
            problems=tuple(problems),
            prompt_tokens=lengths.prompt_tokens[rows],
            lengths=lengths.lengths[rows],
        ),
    )


def _rows_of(table: VoteTable, problems: Sequence[str]) -> VoteTable:
    place = {problem: row for row, problem in enumerate(table.problems)}
    rows: IntArray = np.array([place[problem] for problem in problems], dtype=np.int64)
    return VoteTable(
        problems=tuple(problems),
        classes=table.classes[rows],
        correct=table.correct[rows],
        scores=None if table.scores is None else table.scores[rows],
    )


def _first_s(field: Contender) -> float:
    """Return when the first completion that takes any step can be finished; 1 s if none does."""
    finish_s = static_finish_s(field.steps, field.lengths.prompt_tokens, field.lengths.lengths, field.ks[0])
    return float(min(finish_s[finish_s > 0], default=1.0))


def _last_s(field: Contender) -> float:
    """Return when all are finished and scored, however many are started together."""
    prompts, lengths = field.lengths.prompt_tokens, field.lengths.lengths
    finish_s: FloatArray = np.array([static_finish_s(field.steps, prompts, lengths, k).max() for k in field.ks])
    scored_s = [finish_s + field.scoring_s(reward_model) for reward_model in (None, *field.scoring)]
    return max(_first_s(field), float(np.max(scored_s)))


def _curve(field: Contender, clock: StopClock, rule: Rule, values: Values, replicates: FloatArray) -> DeadlineCurve:
    """Take the best k at each deadline; `replicates` (B, T) are of that best."""
    means = values.values.mean(axis=0)  # (K, T)
    places = means.argmax(axis=0)
    best = means.max(axis=0)
    low, high = percentile_interval(replicates)
    errors = np.take_along_axis(values.errors, places[None], axis=0)[0]
    return DeadlineCurve(
        **field.votes.series._asdict(),
        rule=rule.name,
        reward_model=rule.reward_model,
        reduction=rule.reduction,
        gamma=rule.gamma,
        accounting=WITH_VERIFIER if rule.reward_model in field.scoring else GENERATION,
        mode=clock.mode,
        num_problems=len(field.lengths.problems),
        deadlines_s=clock.deadlines_s,
        ks=field.ks,
        values=tuple(tuple(row) for row in means.tolist()),
        best=tuple(best.tolist()),
        best_ks=tuple(field.ks[place] if value > 0 else None for place, value in zip(places, best, strict=True)),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        monte_carlo_errors=tuple(errors.tolist()) if values.errors.any() else None,
    )


def _differences(curves: Sequence[DeadlineCurve], replicates: Sequence[FloatArray]) -> Iterator[DeadlineDifference]:
    """Yield, for every pair of curves of equal rule and mode, what the first is worth more than the second."""
    for (place, curve), (other, baseline) in itertools.combinations(enumerate(curves), 2):
        if (curve.rule, curve.reward_model, curve.mode) == (baseline.rule, baseline.reward_model, baseline.mode):
            low, high = percentile_interval(replicates[place] - replicates[other])
            yield DeadlineDifference(
                curve=place,
                baseline=other,
                deadlines_s=curve.deadlines_s,
                differences=tuple((np.array(curve.best) - np.array(baseline.best)).tolist()),
                low=tuple(low.tolist()),
                high=tuple(high.tolist()),
            )
