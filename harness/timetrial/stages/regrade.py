"""Stage 2 once more: grade all stored completions anew, and count what that changes.

The old grades are only compared with, so it does no harm if a line of them cannot be read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

from timetrial.changes import ChangedAnswer, Outcome, SeriesChanges, VerdictChange
from timetrial.progress import ProgressFactory
from timetrial.record import Completion, Grade, SampleKey, Series
from timetrial.stages.grade import GradedTask, in_batches
from timetrial.store import RunFolder

NUM_EXAMPLES = 3
"""Answers kept of each kind of change of a series."""


def regrade(
    folder: RunFolder, tasks: Mapping[str, GradedTask], progress: ProgressFactory, *, is_dry: bool = False
) -> tuple[SeriesChanges, ...]:
    """Grade every completion of the folder anew, replace its grades in one step, and return what changed.

    Args:
        folder: held by the caller, unless `is_dry`.
        tasks: by name, with nothing judged yet.
        progress: a bar.
        is_dry: write nothing.
    """
    tallies: dict[Series, _Tally] = defaultdict(_Tally)
    before = _OldGrades(folder)
    with (
        nullcontext() if is_dry else folder.replacing(Grade) as file,
        progress("grade", folder.count(Completion)) as advance,
    ):
        for batch in in_batches(folder.read(Completion)):
            grades = [tasks[completion.task].grade(completion) for completion in batch]
            if file is not None:
                file.append(grades)
            for grade in grades:
                tallies[grade.series].add(before.take(grade.key), grade, tasks[grade.task].problems[grade.problem].gold)
            advance(len(batch))
    return tuple(tally.changes(series) for series, tally in tallies.items())


class _Before(NamedTuple):
    """What is compared of an old grade."""

    answer: str | None
    answer_class: str | None
    outcome: Outcome


class _OldGrades:
    """The grades there are, by sample. Both files are in the same order as a rule, so hardly any are held."""

    def __init__(self, folder: RunFolder) -> None:
        self._rest = _read_before(folder)
        self._waiting: dict[SampleKey, _Before] = {}

    def take(self, key: SampleKey) -> _Before | None:
        while key not in self._waiting:
            found = next(self._rest, None)
            if found is None:
                return None
            self._waiting[found[0]] = found[1]
        return self._waiting.pop(key)


def _read_before(folder: RunFolder) -> Iterator[tuple[SampleKey, _Before]]:
    for line in folder.read_loosely(Grade):
        try:
            key = SampleKey(*(line[name] for name in SampleKey._fields))
            before = _Before(line["answer"], line["answer_class"], _outcome(line["answer"], line["correct"]))
            hash((key, before))
        except (KeyError, TypeError):  # not a grade of any version
            continue
        yield key, before


def _outcome(answer: str | None, correct: bool | None) -> Outcome:
    if answer is None:
        return "no answer"
    return "unknown" if correct is None else "right" if correct else "wrong"


@dataclass(slots=True)
class _Tally:
    """Running counts of one series."""

    verdicts: Counter[tuple[Outcome, Outcome]] = field(default_factory=Counter)
    num_answers_changed: int = 0
    became: dict[tuple[str, str], str] = field(default_factory=dict)
    """By problem and old class: the first new class that its answers are in."""
    was: dict[tuple[str, str], str] = field(default_factory=dict)
    """By problem and new class: the first old class of its answers."""
    split: set[tuple[str, str]] = field(default_factory=set)
    merged: set[tuple[str, str]] = field(default_factory=set)
    examples: dict[tuple[Outcome, Outcome], dict[tuple[str, str | None], ChangedAnswer]] = field(default_factory=dict)
    """By change, the first of each answer of a problem."""

    def add(self, before: _Before | None, grade: Grade, gold: str) -> None:
        after = _outcome(grade.answer, grade.correct)
        change = ("not graded" if before is None else before.outcome, after)
        self.verdicts[change] += 1
        if before is None:
            return
        if before.answer != grade.answer:
            self.num_answers_changed += 1
        elif before.answer_class is not None and grade.answer_class is not None:
            self._compare_classes(grade.problem, before.answer_class, grade.answer_class)
        if change[0] != after:
            self._keep(before, grade, gold)

    def _compare_classes(self, problem: str, old: str, new: str) -> None:
        if self.became.setdefault((problem, old), new) != new:
            self.split.add((problem, old))
        if self.was.setdefault((problem, new), old) != old:
            self.merged.add((problem, new))

    def _keep(self, before: _Before, grade: Grade, gold: str) -> None:
        after = _outcome(grade.answer, grade.correct)
        kept = self.examples.setdefault((before.outcome, after), {})
        if len(kept) < NUM_EXAMPLES and (grade.problem, grade.answer) not in kept:
            kept[grade.problem, grade.answer] = ChangedAnswer(
                problem=grade.problem,
                sample=grade.sample,
                gold=gold,
                answer_before=before.answer,
                answer=grade.answer,
                before=before.outcome,
                after=after,
                reason=grade.reason,
            )

    def changes(self, series: Series) -> SeriesChanges:
        before, after = Counter[Outcome](), Counter[Outcome]()
        for change, count in self.verdicts.items():
            before[change[0]] += count
            after[change[1]] += count
        num_graded = before.total() - before["not graded"]
        return SeriesChanges(
            **series._asdict(),
            num_completions=after.total(),
            verdicts=tuple(
                VerdictChange(before=change[0], after=change[1], count=count)
                for change, count in self.verdicts.most_common()
            ),
            num_answers_changed=self.num_answers_changed,
            num_classes_split=len(self.split),
            num_classes_merged=len(self.merged),
            accuracy_before=before["right"] / num_graded if num_graded else None,
            accuracy=after["right"] / after.total(),
            examples=tuple(example for kept in self.examples.values() for example in kept.values()),
        )
