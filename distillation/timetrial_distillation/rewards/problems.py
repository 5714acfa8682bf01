"""Problems whose solutions are to be labelled, and how they are posed and graded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from timetrial.blame import blaming
from timetrial.catalog import Catalog
from timetrial.error import DataError, UsageError
from timetrial.protocol import Task
from timetrial.record import Problem
from timetrial.stages.grade import GradedTask
from timetrial.stages.judge import Graders
from timetrial_distillation.data.files import open_files
from timetrial_distillation.data.hub import is_hub_id, open_dataset
from timetrial_distillation.data.records import Record
from timetrial_distillation.rewards.truth import true_steps
from timetrial_plugins.nutshell.generator import NutshellProblem, test_problems, training_problem

TRAINING = "training"
TEST = "test"
NUTSHELL = "nutshell"
_TEXTS, _ANSWERS = ("problem", "question"), ("expected_answer", "answer")
Truth = Callable[[str, Sequence[str]], tuple[bool, ...]]
"""From a problem's id and the steps of a solution to which of them are right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemChoice:
    """Which problems."""

    task: str
    """Who poses and grades them."""
    source: str = TRAINING
    """training: the stream that the nutshell's models learn from. test: the task's own, for evaluation. Else a file or
    a Hub id with the columns problem (or question) and answer (or expected_answer), of data sets like MATH."""
    start: int = 0
    """Problems that are passed over."""
    count: int = 1000
    seed: int = 0
    """Of the training stream."""

    def __post_init__(self) -> None:
        """Refuse numbers that choose nothing.

        Raises:
            UsageError: names the field.
        """
        if self.start < 0 or self.count < 1:
            raise UsageError(f"start is {self.start} and count {self.count}; expected 0 or more, and 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemSet:
    """Problems with all that it takes to label their solutions."""

    problems: tuple[Problem, ...]
    graded: GradedTask
    truth: Truth | None
    """None where nobody knows."""
    facts: Mapping[str, Any]  # Any: JSON
    """Of the task and the source: what must be equal for the labels to be."""


def open_problems(choice: ProblemChoice, catalog: Catalog) -> ProblemSet:
    """Load the task and read the problems.

    Raises:
        UnknownNameError: there is no such task.
        UsageError: the task has no training problems, or there are none.
        DataError: a file cannot be read, or a record is no problem.
    """
    spec = catalog.task(choice.task)
    with blaming(f"task {choice.task!r}", catalog.tasks()[choice.task].origin):
        task = spec.load(None)
        graders = Graders(grader=task.grader)
    made = _generated(choice)
    problems = [_as_problem(item) for item in made] if made else _read(choice, task)
    if not problems:
        raise UsageError(f"{choice.source!r} has no problems from number {choice.start} on")
    known = {item.id: item for item in made}
    texts = hashlib.sha256(repr([(problem.id, problem.text, problem.gold) for problem in problems]).encode())
    return ProblemSet(
        problems=tuple(problems),
        graded=GradedTask(task=task, problems={problem.id: problem for problem in problems}, graders=graders),
        truth=(lambda name, steps: true_steps(known[name], steps)) if made else None,
        facts={"task_version": task.version, "grader": graders.facts(), "problems_sha256": texts.hexdigest()},
    )


def _generated(choice: ProblemChoice) -> list[NutshellProblem]:
    if choice.source == TRAINING:
        if choice.task != NUTSHELL:
            raise UsageError(
                f"the task {choice.task!r} has no training problems of its own: name a file or a Hub data set of"
                " problems with their answers (--problems)"
            )
        return [training_problem(choice.seed, choice.start + number) for number in range(choice.count)]
    if choice.source == TEST and choice.task == NUTSHELL:
        return list(test_problems()[choice.start : choice.start + choice.count])
    return []


def _as_problem(item: NutshellProblem) -> Problem:
    return Problem(id=item.id, text=item.text, gold=item.answer, level=item.level, subject=item.subject)


def _read(choice: ProblemChoice, task: Task) -> list[Problem]:
    if choice.source == TEST:
        return list(task.problems())[choice.start : choice.start + choice.count]
    is_remote = is_hub_id(choice.source)
    source = open_dataset(choice.source, None, "train", None) if is_remote else open_files([choice.source])
    columns = source.columns()
    wanted = [next((name for name in names if name in columns), None) for names in (_TEXTS, _ANSWERS)]
    if None in wanted:
        raise UsageError(
            f"{choice.source!r} has the columns {', '.join(columns)}; expected one of {', '.join(_TEXTS)} and one of"
            f" {', '.join(_ANSWERS)}"
        )
    text, answer = (str(name) for name in wanted)
    records = islice(source.records(choice.start, (text, answer)), choice.count)
    return [_problem(record, text, answer) for record in records]


def _problem(record: Record, text: str, answer: str) -> Problem:
    values = [record.values.get(name) for name in (text, answer)]
    if not all(isinstance(value, str) and value.strip() for value in values):
        raise DataError(f"expected texts as {text!r} and {answer!r}, found {values!r:.80}", record.file, record.number)
    return Problem(id=f"{record.file}:{record.position}", text=str(values[0]), gold=str(values[1]))
