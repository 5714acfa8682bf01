"""Stage 2: completions become grades. An answer is judged once per answer class of a problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from timetrial.progress import ProgressFactory
from timetrial.protocol import Task
from timetrial.record import Completion, Grade, Problem, SampleKey, Verdict
from timetrial.store import RunFolder

FLUSH_EVERY = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class GradedTask:
    """A task, its problems by id, and the verdicts found so far."""

    task: Task
    problems: Mapping[str, Problem]
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    """By problem id and answer class: a class is judged once, and all its members inherit the verdict."""

    def grade(self, completion: Completion) -> Grade:
        """Extract, classify and judge the answer of one completion. Failures end up in the record."""
        if completion.finish == "error":
            return _grade(completion, reason="generation failed")
        try:
            answer = self.task.extract(completion.text)
            answer_class = None if answer is None else self.task.grader.answer_class(answer)
        except Exception as cause:  # a plugin's code: whatever it raises is this answer's problem only
            return _grade(completion, reason=f"extraction failed: {cause!r}")
        if answer is None or answer_class is None:
            cut = " (cut at the token limit)" if completion.finish == "length" else ""
            return _grade(completion, correct=False, reason=f"no answer found{cut}")
        if completion.finish == "length" and completion.text.endswith(answer):
            return _grade(completion, correct=False, reason="cut at the token limit inside its answer")
        key = (completion.problem, answer_class)
        if key not in self.verdicts:
            self.verdicts[key] = self._judge(completion.problem, answer)
        verdict = self.verdicts[key]
        return _grade(
            completion, answer=answer, answer_class=answer_class, correct=verdict.correct, reason=verdict.reason
        )

    def _judge(self, problem: str, answer: str) -> Verdict:
        try:
            return self.task.grader.grade(self.problems[problem].gold, answer)
        except Exception as cause:  # a plugin's code: unknown is the honest verdict, never a silent False
            return Verdict(correct=None, reason=f"grading failed: {cause!r}")


def grade(folder: RunFolder, tasks: Mapping[str, GradedTask], progress: ProgressFactory) -> int:
    """Grade every completion of the folder that is not graded yet; return how many there were."""
    graded = set()
    for old in folder.read(Grade):
        graded.add(old.key)
        if old.answer_class is not None and old.task in tasks:
            verdict = Verdict(correct=old.correct, reason=old.reason)
            tasks[old.task].verdicts.setdefault((old.problem, old.answer_class), verdict)
    total = sum(1 for completion in folder.read(Completion) if completion.key not in graded)
    if total == 0:
        return 0
    with folder.appending(Grade) as file, progress("grade", total) as advance:
        batch = []
        for completion in _ungraded(folder, graded):
            batch.append(tasks[completion.task].grade(completion))
            if len(batch) == FLUSH_EVERY:
                file.append(batch)
                advance(len(batch))
                batch = []
        file.append(batch)
        advance(len(batch))
    return total


def _ungraded(folder: RunFolder, graded: set[SampleKey]) -> Iterator[Completion]:
    return (completion for completion in folder.read(Completion) if completion.key not in graded)


def _grade(
    completion: Completion,
    *,
    answer: str | None = None,
    answer_class: str | None = None,
    correct: bool | None = None,
    reason: str | None = None,
) -> Grade:
    return Grade(
        model=completion.model,
        task=completion.task,
        temperature=completion.temperature,
        problem=completion.problem,
        sample=completion.sample,
        answer=answer,
        answer_class=answer_class,
        correct=correct,
        reason=reason,
    )
