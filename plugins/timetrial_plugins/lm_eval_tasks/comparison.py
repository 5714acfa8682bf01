"""Two graders on the same completions: timetrial's verdicts of a run, and what a task of lm-eval says of its texts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from timetrial.error import RunError, UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial.record import Completion, Grade, Problem, SampleKey
from timetrial.runner import Run
from timetrial.stages.report import read_problems
from timetrial_plugins.grading.process import Outcome
from timetrial_plugins.grading.worker import Limits, WorkerPool
from timetrial_plugins.lm_eval_tasks.definition import Definition
from timetrial_plugins.lm_eval_tasks.kinds import DEFAULT_METRICS, UNFILTERED, why_not_generated

JUDGE = "timetrial_plugins.lm_eval_tasks.judging:judge"
LIMITS = Limits(time_s=30.0, start_s=120.0, memory=16 << 30)
"""minerva_math500 alone allows itself five seconds three times over; importing lm-eval maps gigabytes of libraries."""

Ours = Literal["right", "wrong", "unknown", "no answer"]
Theirs = Literal["right", "wrong", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedAnswer:
    """One completion on which the two graders differ."""

    model: str
    problem: str
    sample: int
    gold: str
    our_answer: str | None
    ours: Ours
    their_answer: str | None
    """What their filter leaves; None if that is the whole text, from which the task finds the answer itself."""
    theirs: Theirs
    reason: str | None
    """Why one of them has no verdict."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GraderComparison:
    """The verdicts of one metric of lm-eval beside timetrial's."""

    task: str
    lm_eval_task: str
    metric: str
    """As lm-eval writes it: metric,filter."""
    counts: Mapping[tuple[Ours, Theirs], int]
    differing: tuple[ComparedAnswer, ...]
    """Completions that only one of them calls right, and those that one of them could not judge."""

    @property
    def num_completions(self) -> int:
        """All that were compared."""
        return sum(self.counts.values())


class _Opinion(NamedTuple):
    """What one metric says of one completion."""

    theirs: Theirs
    answer: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Tally:
    """Running counts of one metric."""

    counts: Counter[tuple[Ours, Theirs]] = field(default_factory=Counter)
    differing: list[ComparedAnswer] = field(default_factory=list)

    def add(self, grade: Grade, gold: str, opinion: _Opinion) -> None:
        ours = _ours(grade)
        self.counts[ours, opinion.theirs] += 1
        is_settled = ours != "unknown" and opinion.theirs != "failed"
        if is_settled and (ours == "right") == (opinion.theirs == "right"):
            return
        compared = ComparedAnswer(
            model=grade.model,
            problem=grade.problem,
            sample=grade.sample,
            gold=gold,
            our_answer=grade.answer,
            ours=ours,
            their_answer=opinion.answer,
            theirs=opinion.theirs,
            reason=opinion.reason if opinion.reason is not None else grade.reason,
        )
        self.differing.append(compared)


def compare_graders(
    run: Run, task: str, definition: Definition, progress: ProgressFactory = silent
) -> tuple[GraderComparison, ...]:
    """Let a task of lm-eval grade the completions of a run; return a comparison for each of its metrics and filters.

    Raises:
        RunError: the run has no graded completions of the task.
        UsageError: the task of lm-eval grades no generated texts, or fails on the first one already.
    """
    if (reason := why_not_generated(definition.config)) is not None:
        raise UsageError(f"the task {definition.name!r} of lm-eval grades no completions: {reason}")
    problems = read_problems(run.path, task)
    judge = _Judge(definition)
    tallies = {column: _Tally() for column in judge.columns}
    num_compared = 0
    with progress(f"lm-eval {definition.name}", run.folder.count(Completion)) as advance:
        for completion, grade in _graded(run, task):
            advance(1)
            if completion.finish == "error" or completion.problem not in problems:
                continue
            problem = problems[completion.problem]
            for column, opinion in judge.opinions(problem, completion.text).items():
                tallies[column].add(grade, problem.gold, opinion)
            num_compared += 1
    if not num_compared:
        raise RunError(
            f"{run.path} has no graded completions of {task}; `timetrial run` and `timetrial grade` make them"
        )
    return tuple(
        GraderComparison(
            task=task,
            lm_eval_task=definition.name,
            metric=column,
            counts=dict(tally.counts),
            differing=tuple(tally.differing),
        )
        for column, tally in tallies.items()
    )


def _graded(run: Run, task: str) -> Iterator[tuple[Completion, Grade]]:
    """Yield the completions of a task with their grades. Both files are in one order as a rule: hardly any are held."""
    grades = run.folder.read(Grade)
    waiting: dict[SampleKey, Grade] = {}
    for completion in run.folder.read(Completion):
        if completion.task != task:
            continue
        while completion.key not in waiting and (grade := next(grades, None)) is not None:
            waiting[grade.key] = grade
        if completion.key in waiting:
            yield completion, waiting.pop(completion.key)


class _Judge:
    """Asks a worker process about each text of a problem once."""

    def __init__(self, definition: Definition) -> None:
        config = definition.config
        self._definition = definition
        self._metrics = [str(metric["metric"]) for metric in config.get("metric_list") or DEFAULT_METRICS]
        self._filters = [str(pipeline["name"]) for pipeline in config.get("filter_list") or (UNFILTERED,)]
        self._workers = WorkerPool(JUDGE, limits=LIMITS, size=1)
        self._asked: dict[bytes, dict[str, _Opinion]] = {}

    @property
    def columns(self) -> list[str]:
        """What there is an opinion by: metric,filter."""
        return [f"{metric},{name}" for name in self._filters for metric in self._metrics]

    def opinions(self, problem: Problem, text: str) -> dict[str, _Opinion]:
        """Return what each metric says of a completion.

        Raises:
            UsageError: there is no verdict on the very first text: the task cannot grade here at all.
        """
        key = hashlib.sha256(json.dumps([problem.id, text]).encode()).digest()  # the texts of a run may be many
        if key not in self._asked:
            outcome = self._workers.ask(
                str(self._definition.folder), self._definition.name, _document(problem, self._definition.config), text
            )
            if not self._asked and outcome.ending == "failed":
                raise UsageError(f"the task {self._definition.name!r} of lm-eval cannot grade here: {outcome.detail}")
            self._asked[key] = dict(self._opinions(outcome, text))
        return self._asked[key]

    def _opinions(self, outcome: Outcome, text: str) -> Iterator[tuple[str, _Opinion]]:
        for name in self._filters:
            for metric in self._metrics:
                if outcome.ending != "answered":
                    yield f"{metric},{name}", _Opinion("failed", reason=f"{outcome.ending}: {outcome.detail}")
                    continue
                yield f"{metric},{name}", _opinion(outcome.value[name], metric, text)


def _opinion(said: Mapping[str, Any], metric: str, text: str) -> _Opinion:  # Any: JSON values
    value = said["metrics"].get(metric)
    answer = None if said["answer"] == text else said["answer"]
    if value not in (0, 1):
        return _Opinion("failed", answer, f"no verdict: {metric} is {value}, neither 0 nor 1")
    return _Opinion("right" if value else "wrong", answer)


def _ours(grade: Grade) -> Ours:
    if grade.correct is None:
        return "unknown"
    return "no answer" if grade.answer is None else "right" if grade.correct else "wrong"


def _document(problem: Problem, config: Mapping[str, Any]) -> dict[str, str]:  # Any: whatever YAML can hold
    """Return a problem as a row of the data sets of MATH and GSM8K, under all the names their columns have.

    Solutions are not kept with a run: one that only states the answer stands in, in the notation that the task reads.
    """
    metrics = {metric["metric"]: metric for metric in config.get("metric_list") or ()}
    ignored = metrics.get("exact_match", {}).get("regexes_to_ignore") or ()
    answer = f"#### {problem.gold}" if any("####" in pattern for pattern in ignored) else problem.gold
    names = {"problem": problem.text, "question": problem.text, "answer": answer}
    return {
        **names,
        **{name.capitalize(): text for name, text in names.items()},
        "solution": rf"\boxed{{{problem.gold}}}",
        "level": f"Level {problem.level}",
        "type": problem.subject or "",
    }
