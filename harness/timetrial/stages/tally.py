"""Count, per series, what became of the completions and of their answers. Holds one line of a file at a time."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from timetrial.graded_by import recorded_graders
from timetrial.record import Completion, Grade, Problem, Series
from timetrial.report.data import GradingStatistics, SeriesStatistics, UnknownAnswer
from timetrial.stages.grade import CUT, GENERATION_FAILED
from timetrial.store import RunFolder

NUM_SHOWN = 5
"""Unknown answers shown of each task and kind of reason."""
NUM_COUNTED = 200
"""Different unknown answers counted of each: the most frequent are sought among the first so many."""
NO_REASON = "no reason given"

Facts = Mapping[str, Any]  # Any: JSON-ready


@dataclass(kw_only=True, slots=True)
class _Samples:
    """Running counts of one series; becomes a SeriesStatistics."""

    samples: Counter[str] = field(default_factory=Counter)
    """Completions of each problem."""
    texts: dict[str, set[bytes]] = field(default_factory=dict)
    """Digests of the different texts of each problem, the first two of them: more are not needed."""
    truncated: int = 0
    errors: int = 0
    tokens: int = 0
    known_lengths: int = 0

    def add(self, completion: Completion) -> None:
        self.samples[completion.problem] += 1
        texts = self.texts.setdefault(completion.problem, set())
        if len(texts) < 2:
            texts.add(hashlib.blake2b(completion.text.encode("utf-8", "replace"), digest_size=8).digest())
        self.truncated += completion.finish == "length"
        self.errors += completion.finish == "error"
        if completion.num_tokens is not None and completion.finish != "error":
            self.tokens += completion.num_tokens
            self.known_lengths += 1

    def num_identical(self) -> int:
        """Count the problems whose completions are all the same text; fewer than four can agree by chance."""
        return sum(len(self.texts[problem]) == 1 for problem, number in self.samples.items() if number >= 4)


def gather_statistics(folder: RunFolder) -> tuple[SeriesStatistics, ...]:
    """Count, per series, what became of the completions."""
    tallies: dict[Series, _Samples] = defaultdict(_Samples)
    for completion in folder.read(Completion):
        tallies[completion.series].add(completion)
    return tuple(
        SeriesStatistics(
            series=series,
            num_problems=len(tally.samples),
            num_completions=tally.samples.total(),
            num_truncated=tally.truncated,
            num_errors=tally.errors,
            num_identical_problems=tally.num_identical() if series.temperature > 0 else 0,
            mean_tokens=tally.tokens / tally.known_lengths if tally.known_lengths else None,
        )
        for series, tally in tallies.items()
    )


@dataclass(kw_only=True, slots=True)
class _Grades:
    """Running counts of one series; becomes a GradingStatistics."""

    outcomes: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    graders: Counter[str] = field(default_factory=Counter)

    def add(self, grade: Grade) -> None:
        self.graders[grade.grader] += 1
        if is_unknown(grade):
            self.unknown[grade.kind or NO_REASON] += 1
        elif grade.correct is None:
            self.outcomes["failed"] += 1
        elif grade.answer is None:
            self.outcomes["cut" if grade.kind == CUT else "no answer"] += 1
        else:
            self.outcomes["right" if grade.correct else "wrong"] += 1

    def statistics(self, series: Series, recorded: Facts) -> GradingStatistics:
        second = recorded.get("second_opinion") or {}
        return GradingStatistics(
            series=series,
            num_right=self.outcomes["right"],
            num_wrong=self.outcomes["wrong"],
            num_no_answer=self.outcomes["no answer"],
            num_cut=self.outcomes["cut"],
            num_failed=self.outcomes["failed"],
            unknown=tuple(self.unknown.most_common()),
            num_second_opinions=self.graders[second.get("grader", "")],
            graders=tuple(self.graders),
        )


@dataclass(kw_only=True, slots=True)
class _Unknown:
    """The first different unknown answers of one task and kind of reason, and how often each came."""

    first: dict[tuple[str | None, str | None], Grade] = field(default_factory=dict)
    counts: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)

    def add(self, grade: Grade) -> None:
        answer = (grade.answer, grade.reason)
        if answer in self.first or len(self.first) < NUM_COUNTED:
            self.first.setdefault(answer, grade)
            self.counts[answer] += 1

    def most_common(self, problems: Mapping[str, Problem]) -> Iterator[UnknownAnswer]:
        for answer, count in self.counts.most_common(NUM_SHOWN):
            grade = self.first[answer]
            yield UnknownAnswer(
                task=grade.task,
                problem=grade.problem,
                gold=problems[grade.problem].gold if grade.problem in problems else None,
                answer=grade.answer,
                reason=grade.reason or NO_REASON,
                count=count,
            )


def is_unknown(grade: Grade) -> bool:
    """Whether there is a text whose answer may be right, but no verdict on it."""
    return grade.correct is None and grade.kind != GENERATION_FAILED


class Grading(NamedTuple):
    """How a run was graded."""

    statistics: tuple[GradingStatistics, ...]
    unknown_answers: tuple[UnknownAnswer, ...]
    """Some of them, the most frequent of each task and kind of reason first."""


def gather_grading(folder: RunFolder, config: Facts, problems: Mapping[str, Mapping[str, Problem]]) -> Grading:
    """Count, per series, how the answers were graded, and pick unknown ones to show.

    Args:
        folder: the run.
        config: its config.json.
        problems: those of each task, by id.
    """
    tallies: dict[Series, _Grades] = defaultdict(_Grades)
    unknown: dict[tuple[str, str], _Unknown] = defaultdict(_Unknown)
    for grade in folder.read(Grade):
        tallies[grade.series].add(grade)
        if is_unknown(grade):
            unknown[grade.task, grade.kind or NO_REASON].add(grade)
    tasks = config.get("tasks", {})
    return Grading(
        statistics=tuple(
            tally.statistics(series, recorded_graders(tasks.get(series.task, {}))) for series, tally in tallies.items()
        ),
        unknown_answers=tuple(
            answer for (task, _), found in unknown.items() for answer in found.most_common(problems.get(task, {}))
        ),
    )
