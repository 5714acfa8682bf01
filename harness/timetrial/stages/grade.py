"""Stage 2: completions become grades. An answer is judged once per answer class of a problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from timetrial.error import RunError
from timetrial.progress import ProgressFactory
from timetrial.protocol import Task
from timetrial.record import Completion, Grade, Problem, Verdict
from timetrial.stages.judge import GRADING_FAILED, Graders, Judgement, cause_text
from timetrial.store import RunFolder

FLUSH_EVERY = 256

# The kinds of reasons that arise here; graders have more. The first three leave `correct` at None.
GENERATION_FAILED = "generation failed"
EXTRACTION_FAILED = "extraction failed"
NO_ANSWER = "no answer"
CUT = "cut"


@dataclass(frozen=True, kw_only=True, slots=True)
class GradedTask:
    """A task, its problems by id, who grades it, and what was judged so far."""

    task: Task
    problems: Mapping[str, Problem]
    graders: Graders
    judgements: dict[tuple[str, str], Judgement] = field(default_factory=dict)
    """By problem id and answer class: a class is judged once, and all its members inherit the verdict."""

    def grade(self, completion: Completion) -> Grade:
        """Extract, classify and judge the answer of one completion. Failures end up in the record.

        Raises:
            RunError: its problem is not known.
        """
        gold = self._gold(completion)
        if completion.finish == "error":
            return self._without_answer(completion, None, f"{GENERATION_FAILED}: {completion.error}")
        try:
            answer = self.task.extract(completion.text)
        except Exception as cause:  # a plugin's code: whatever it raises is this answer's problem only
            return self._without_answer(completion, None, f"{EXTRACTION_FAILED}: {cause_text(cause)}")
        was_cut = completion.finish == "length"
        if answer is None:
            reason = f"{CUT}: at the token limit, before an answer" if was_cut else f"{NO_ANSWER}: none in the text"
            return self._without_answer(completion, False, reason)
        if was_cut and completion.text.endswith(answer):
            return self._without_answer(completion, False, f"{CUT}: at the token limit, inside the answer")
        try:
            answer_class = self.graders.grader.answer_class(answer)
        except Exception as cause:  # as above
            return self._without_answer(completion, None, f"{GRADING_FAILED}: {cause_text(cause)}")
        key = (completion.problem, answer_class)
        if key not in self.judgements:
            self.judgements[key] = self.graders.judge(gold, answer)
        verdict, grader = self.judgements[key]
        return Grade(
            **completion.key._asdict(),
            answer=answer,
            answer_class=answer_class,
            correct=verdict.correct,
            grader=grader,
            reason=verdict.reason,
        )

    def _gold(self, completion: Completion) -> str:
        if completion.problem not in self.problems:
            raise RunError(
                f"problem {completion.problem!r} of a sample on {completion.task} is not among the problems that the "
                "run stored, so its gold answer is not known: put it back, or start anew with another --out"
            )
        return self.problems[completion.problem].gold

    def _without_answer(self, completion: Completion, correct: bool | None, reason: str) -> Grade:
        return Grade(
            **completion.key._asdict(),
            answer=None,
            answer_class=None,
            correct=correct,
            grader=self.graders.grader.name,
            reason=reason,
        )


def grade(folder: RunFolder, tasks: Mapping[str, GradedTask], progress: ProgressFactory) -> int:
    """Grade every completion of the folder that is not graded yet; return how many there were."""
    graded = set()
    for old in folder.read(Grade):
        graded.add(old.key)
        if old.answer_class is not None and old.task in tasks:
            judgement = Judgement(Verdict(correct=old.correct, reason=old.reason), old.grader)
            tasks[old.task].judgements.setdefault((old.problem, old.answer_class), judgement)
    total = sum(1 for completion in folder.read(Completion) if completion.key not in graded)
    if total == 0:
        return 0
    ungraded = (completion for completion in folder.read(Completion) if completion.key not in graded)
    with folder.appending(Grade) as file, progress("grade", total) as advance:
        for batch in in_batches(ungraded):
            file.append(tasks[completion.task].grade(completion) for completion in batch)
            advance(len(batch))
    return total


def in_batches(completions: Iterable[Completion]) -> Iterator[list[Completion]]:
    """Yield as many completions at a time as are graded between two writes."""
    rest = iter(completions)
    while batch := list(islice(rest, FLUSH_EVERY)):
        yield batch
