"""From graded samples to the tables that the estimators read. Holds numbers only, however long the texts were.

A problem enters a table only with all its N samples, numbered 0 to N - 1; samples numbered N and above are not read.
An answer class is judged once, by its lowest-numbered sample, and all its members inherit that verdict. An answer that
a reward model was asked about and gave no score abstains in that model's table, and votes in the table without scores.
P problems, N samples per problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from timetrial.error import RunError
from timetrial.record import Count, Grade, Series, StepScores
from timetrial.statistics.reduction import Reduction, reduce_scores
from timetrial.statistics.table import FloatArray, IntArray, VoteTable

_ABSTAINS = -1
_MISSING = -2
_UNSCORED = -math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class VotePool:
    """The graded samples of one series."""

    series: Series
    table: VoteTable
    """The problems that have all N samples, by id; without scores."""
    scored: Mapping[str, VoteTable]
    """By reward model: those of them about whose every answer it was asked, with the scores."""
    num_left_out: int
    """Problems with some samples, but fewer than N."""
    num_unknown: int
    """Samples in the table whose answer the grader could not judge: they vote, and count as wrong."""
    num_split_classes: int
    """Answer classes in the table whose members were judged differently."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Ids of the problems in the table."""
        return self.table.problems

    @property
    def num_samples(self) -> int:
        """Samples of each problem, N."""
        return self.table.num_samples


@dataclass(frozen=True, kw_only=True, slots=True)
class CountPool:
    """The imported counts of one series."""

    series: Series
    problems: tuple[str, ...]
    totals: IntArray
    """(P,) samples of each problem."""
    num_correct: IntArray
    """(P,)"""
    num_left_out: int
    """Problems with fewer samples than were asked for."""

    @property
    def num_samples(self) -> int:
        """Samples that every problem has."""
        return int(self.totals.min()) if len(self.totals) else 0


def collect_votes(
    grades: Iterable[Grade], step_scores: Iterable[StepScores], *, num_samples: int, reduction: Reduction
) -> tuple[VotePool, ...]:
    """Return one pool per series, in order of appearance. Both iterables are read once, in any order of lines.

    Raises:
        RunError: a sample was graded or scored twice, or its scores do not reduce to a finite number.
    """
    votes: dict[Series, dict[str, _Votes]] = {}
    for grade in grades:
        problems = votes.setdefault(Series(grade.model, grade.task, grade.temperature), {})
        if grade.sample < num_samples:
            if grade.problem not in problems:
                problems[grade.problem] = _Votes(num_samples)
            problems[grade.problem].add(grade)
    scores: dict[tuple[Series, str], dict[str, FloatArray]] = {}
    for steps in step_scores:
        rows = scores.setdefault((Series(steps.model, steps.task, steps.temperature), steps.reward_model), {})
        if steps.sample < num_samples:
            if steps.problem not in rows:
                rows[steps.problem] = np.full(num_samples, np.nan)
            _add_score(rows[steps.problem], steps, reduction)
    return tuple(
        _vote_pool(
            series,
            num_samples,
            problems,
            {reward_model: rows for (owner, reward_model), rows in scores.items() if owner == series},
        )
        for series, problems in votes.items()
    )


def collect_counts(counts: Iterable[Count], *, num_samples: int) -> tuple[CountPool, ...]:
    """Return one pool per series, in order of appearance; problems with fewer than `num_samples` are left out.

    Raises:
        RunError: a problem of a series was counted twice.
    """
    by_series: dict[Series, dict[str, Count]] = {}
    for count in counts:
        problems = by_series.setdefault(Series(count.model, count.task, count.temperature), {})
        if count.problem in problems:
            raise RunError(f"problem {count.problem!r} of {count.model} on {count.task} was counted twice")
        problems[count.problem] = count
    pools = []
    for series, problems in by_series.items():
        kept = [problems[problem] for problem in sorted(problems) if problems[problem].num_samples >= num_samples]
        pool = CountPool(
            series=series,
            problems=tuple(count.problem for count in kept),
            totals=np.array([count.num_samples for count in kept], dtype=np.int64),
            num_correct=np.array([count.num_correct for count in kept], dtype=np.int64),
            num_left_out=len(problems) - len(kept),
        )
        pools.append(pool)
    return tuple(pools)


@dataclass(slots=True)
class _Votes:
    """The votes of one problem while they are being read."""

    num_samples: int
    classes: IntArray = field(init=False)
    keys: dict[str, int] = field(default_factory=dict)
    """Answer class to its number."""
    judges: list[tuple[int, bool | None]] = field(default_factory=list)
    """By class number: the lowest-numbered sample so far, and the verdict on it."""
    split: set[int] = field(default_factory=set)
    """Numbers of the classes whose members were judged differently."""
    num_unknown: int = 0

    def __post_init__(self) -> None:
        self.classes = np.full(self.num_samples, _MISSING, dtype=np.int64)

    @property
    def is_complete(self) -> bool:
        return not (self.classes == _MISSING).any()

    def add(self, grade: Grade) -> None:
        if self.classes[grade.sample] != _MISSING:
            raise _twice(grade, "graded")
        if grade.answer_class is None:
            self.classes[grade.sample] = _ABSTAINS
            return
        number = self.keys.setdefault(grade.answer_class, len(self.keys))
        self.classes[grade.sample] = number
        self.num_unknown += grade.correct is None
        verdict = (grade.sample, grade.correct)
        if number == len(self.judges):
            self.judges.append(verdict)
            return
        if self.judges[number][1] is not grade.correct:
            self.split.add(number)
        self.judges[number] = min(self.judges[number], verdict, key=lambda judged: judged[0])


def _add_score(row: FloatArray, steps: StepScores, reduction: Reduction) -> None:
    if not math.isnan(row[steps.sample]):
        raise _twice(steps, f"scored by {steps.reward_model}")
    if steps.reason is not None:
        row[steps.sample] = _UNSCORED
        return
    try:
        score = reduce_scores(steps.scores, reduction)
    except ValueError as cause:
        raise RunError(f"sample {steps.sample} of problem {steps.problem!r}: {cause}") from cause
    if not math.isfinite(score):
        raise RunError(
            f"{steps.reward_model} gave sample {steps.sample} of problem {steps.problem!r} the score {score}; "
            "expected finite numbers: score the run again with a reward model that gives them"
        )
    row[steps.sample] = score


def _twice(record: Grade | StepScores, what: str) -> RunError:
    return RunError(
        f"sample {record.sample} of problem {record.problem!r} ({record.model} on {record.task}, "
        f"temperature {record.temperature:g}) was {what} twice; remove one of the two lines, or the file, and run again"
    )


def _vote_pool(
    series: Series, num_samples: int, votes: Mapping[str, _Votes], scores: Mapping[str, Mapping[str, FloatArray]]
) -> VotePool:
    kept = [problem for problem in sorted(votes) if votes[problem].is_complete]
    return VotePool(
        series=series,
        table=_table(kept, votes, _classes(kept, num_samples, votes), None),
        scored={reward: _scored_table(kept, num_samples, votes, rows) for reward, rows in scores.items()},
        num_left_out=len(votes) - len(kept),
        num_unknown=sum(votes[problem].num_unknown for problem in kept),
        num_split_classes=sum(len(votes[problem].split) for problem in kept),
    )


def _scored_table(
    problems: Sequence[str], num_samples: int, votes: Mapping[str, _Votes], scores: Mapping[str, FloatArray]
) -> VoteTable:
    """Return the table of the problems whose every answer has a score or a reason; abstentions need none."""

    def was_asked_of_all(problem: str) -> bool:
        return problem in scores and not np.isnan(scores[problem][votes[problem].classes >= 0]).any()

    kept = [problem for problem in problems if was_asked_of_all(problem)]
    classes = _classes(kept, num_samples, votes)
    if not kept:
        return _table(kept, votes, classes, None)
    given = np.stack([scores[problem] for problem in kept])
    classes = np.where(given == _UNSCORED, _ABSTAINS, classes)
    return _table(kept, votes, classes, np.where(classes >= 0, given, 0.0))


def _classes(problems: Sequence[str], num_samples: int, votes: Mapping[str, _Votes]) -> IntArray:
    rows = [votes[problem].classes for problem in problems]
    return np.stack(rows) if rows else np.empty((0, num_samples), dtype=np.int64)


def _table(
    problems: Sequence[str], votes: Mapping[str, _Votes], classes: IntArray, scores: FloatArray | None
) -> VoteTable:
    num_classes = max((len(votes[problem].keys) for problem in problems), default=0)
    correct = np.zeros((len(problems), num_classes), dtype=bool)
    for row, problem in enumerate(problems):
        for number, (_, verdict) in enumerate(votes[problem].judges):
            correct[row, number] = verdict is True
    return VoteTable(problems=tuple(problems), classes=classes, correct=correct, scores=scores)
