"""Tables of how answers were graded: what accuracy rests on, what is unknown and why, and who gave the verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from timetrial.report.data import GraderFacts, GradingStatistics, UnknownAnswer
from timetrial.report.labels import percent, series_label, shown
from timetrial.report.table import Cell, Table, pivot

MAX_ANSWER = 80
"""Characters shown of an answer."""
MAX_REASON = 160


def grading_tables(grading: Sequence[GradingStatistics]) -> Iterator[Table]:
    """Make the table of accuracy with what it rests on and, if there are any, of unknown answers by kind."""
    if grading:
        yield Table(
            title="How the answers were graded",
            columns=(
                "model",
                "task",
                "completions",
                "accuracy, %",
                "at most, %",
                "unknown",
                "no answer",
                "cut",
                "failed",
                "second opinions",
            ),
            rows=tuple(map(_row, grading)),
            num_text_columns=2,
            note="Accuracy: the share of all completions that are right. An unknown answer, which the grader could not "
            "judge, votes and counts as wrong; at most: if all of them were right. No answer: none in the text. "
            "Cut: at the token limit, before or inside the answer. Failed: no text. These three abstain from every "
            "vote. Second opinions: verdicts of the grader that is asked where the first cannot tell.",
        )
    if any(each.unknown for each in grading):
        yield pivot(
            "Why answers are unknown",
            ("model", "task"),
            (
                Cell((series_label(each.series), each.series.task), kind, f"{count:,}")
                for each in grading
                for kind, count in each.unknown
            ),
            "Completions by kind of reason.",
        )


def unknown_tables(answers: Sequence[UnknownAnswer]) -> Iterator[Table]:
    """Make the table of some unknown answers, beside what would have been right."""
    if answers:
        yield Table(
            title="Some answers that the grader could not judge",
            columns=("problem", "right is", "answer", "times", "why it is unknown"),
            rows=tuple(
                (
                    f"{each.task} {each.problem}",
                    "-" if each.gold is None else shown(each.gold, MAX_ANSWER),
                    "-" if each.answer is None else shown(each.answer, MAX_ANSWER),
                    f"{each.count:,}",
                    shown(each.reason, MAX_REASON),
                )
                for each in answers
            ),
            num_text_columns=5,
            note="The most frequent of each kind of reason, with the first problem they were given to. Long ones are "
            "cut in the middle.",
        )


def grader_tables(graders: Sequence[GraderFacts]) -> Iterator[Table]:
    """Make the table of who graded each task, and under which policy."""
    if graders:
        yield Table(
            title="Who graded",
            columns=("task", "role", "grader", "policy"),
            rows=tuple((each.task, each.role, each.name, _policy(each.policy)) for each in graders),
            num_text_columns=4,
            note="Another grader, or another policy, gives other numbers: `timetrial grade` grades a run anew.",
        )


def _row(each: GradingStatistics) -> tuple[str, ...]:
    total = each.num_completions
    counts = (each.num_unknown, each.num_no_answer, each.num_cut, each.num_failed, each.num_second_opinions)
    return (
        series_label(each.series),
        each.series.task,
        f"{total:,}",
        *map(percent, each.accuracy_bounds),
        *(f"{count:,} ({percent(count / total)} %)" if count else "0" for count in counts),
    )


def _policy(policy: Mapping[str, Any]) -> str:  # Any: JSON values
    rules = (f"{name}: {rule if isinstance(rule, str) else json.dumps(rule)}" for name, rule in policy.items())
    return "; ".join(rules) or "-"
