"""The contract of tasks and of their graders: what makes a score mean the same tomorrow."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from timetrial.protocol import Grader, Task
from timetrial.record import Problem, Verdict

# Texts that models do write, and some that break regular expressions and parsers.
GARBAGE = (
    "",
    " \n\t ",
    "I do not know.",
    "The final answer is",
    "The final answer is $\\boxed{",
    "\\boxed{}",
    "\\boxed{{{{{{}",
    "}}}}\\boxed",
    "\\frac{1}{0}",
    "$$$$ \\text{ \\sqrt[ \\left(",
    "1/0 + 0^-1 = 9^9^9^9^9",
    "((((((((((((((((((((((((((((((((((((((((",
    "\x00\x01 \ufffd \U0001f4a5 \u202e",
    "__import__('os')",
    "1," * 2000,
    "x" * 20_000,
)
_MAX_PROBLEMS = 50


class TaskContract:
    """Override `task`."""

    @pytest.fixture
    def task(self) -> Task:
        """Return the task under test."""
        raise NotImplementedError("override the fixture `task`")

    def test_it_has_everything_the_protocol_asks_for(self, task: Task) -> None:
        """A task has the protocol's members, and values that can be used."""
        assert isinstance(task, Task), f"{type(task).__name__} lacks a member of timetrial.Task"
        assert isinstance(task.version, str) and task.version, "version must be a non-empty str"
        assert isinstance(task.grader.name, str) and task.grader.name, "the grader's name must be a non-empty str"
        assert type(task.max_tokens) is int and task.max_tokens > 0, "max_tokens must be a positive int"
        assert isinstance(task.stop, tuple) and all(task.stop), "stop must be a tuple of non-empty strings"

    def test_its_problems_are_the_same_every_time(self, task: Task) -> None:
        """Problems come in a fixed order: results are joined by id."""
        problems = list(task.problems())
        assert problems, "a task needs at least one problem"
        assert list(task.problems()) == problems, "problems() must return the same problems in the same order"

    def test_the_ids_of_its_problems_are_unique(self, task: Task) -> None:
        """Ids tell problems apart in every file of a run."""
        seen: set[str] = set()
        for problem in task.problems():
            assert isinstance(problem.id, str) and problem.id, f"a problem's id must be a non-empty str: {problem!r}"
            assert problem.id not in seen, f"two problems have the id {problem.id!r}"
            seen.add(problem.id)

    def test_its_problems_are_complete(self, task: Task) -> None:
        """A problem has a text, a gold answer, and a level from 1 to 5 or none."""
        for problem in task.problems():
            assert problem.text.strip(), f"problem {problem.id!r} has no text"
            assert problem.gold.strip(), f"problem {problem.id!r} has no gold answer"
            assert problem.level is None or problem.level in range(1, 6), (
                f"problem {problem.id!r} has level {problem.level}; levels go from 1 to 5"
            )

    def test_its_prompts_are_deterministic_and_end_with_the_user(self, task: Task) -> None:
        """A prompt belongs to its problem and leaves the next turn to the model."""
        for problem in _some(task):
            prompt = task.prompt(problem)
            assert prompt == task.prompt(problem), f"two prompts of problem {problem.id!r} differ"
            assert prompt.problem == problem.id, f"the prompt of {problem.id!r} names problem {prompt.problem!r}"
            assert prompt.messages, f"the prompt of {problem.id!r} has no turns"
            assert prompt.messages[-1].role == "user", "the last turn must be the user's"

    def test_different_problems_have_different_prompts(self, task: Task) -> None:
        """A prompt poses its own problem."""
        problems = {problem.text: problem for problem in task.problems()}.values()
        prompts = {task.prompt(problem).messages for problem in problems}
        assert len(prompts) == len(problems), "two problems of different texts have the same prompt"

    @pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
    def test_extraction_survives_any_text(self, task: Task, text: str) -> None:
        """`extract` never raises, and gives the same answer or None each time."""
        answer = task.extract(text)
        assert answer is None or isinstance(answer, str), f"extract must return str or None, not {answer!r}"
        assert answer is None or answer.strip(), "an empty answer is no answer: extract must return None"
        assert task.extract(text) == answer, "extract must return the same answer every time"

    def test_gold_is_correct(self, task: Task) -> None:
        """The gold answer is right when given as an answer."""
        for problem in _some(task):
            verdict = task.grader.grade(problem.gold, problem.gold)
            assert verdict.correct is True, f"{problem.id!r}: gold {problem.gold!r} graded against itself: {verdict}"

    def test_nonsense_is_not_correct(self, task: Task) -> None:
        """A grader is not fooled by garbage; where it cannot tell, it gives the reason."""
        gold = task.problems()[0].gold
        for answer in GARBAGE:
            verdict = task.grader.grade(gold, answer)
            assert isinstance(verdict, Verdict), f"grade must return a Verdict, not {verdict!r}"
            assert verdict.correct is not True, f"{answer[:40]!r} was graded correct against {gold!r}"
            assert verdict.correct is not None or verdict.reason, f"no reason why {answer[:40]!r} has no verdict"

    def test_an_answer_class_is_one_key_per_answer(self, task: Task) -> None:
        """Answer classes are strings, and the same for the same answer: the relation is reflexive."""
        for answer in (*(problem.gold for problem in _some(task)), *GARBAGE):
            key = task.grader.answer_class(answer)
            assert isinstance(key, str), f"answer_class must return a str, not {key!r}"
            assert task.grader.answer_class(answer) == key, f"{answer[:40]!r} is not equivalent to itself"

    def test_an_answer_class_does_not_depend_on_the_answers_before(self, task: Task) -> None:
        """Keys are stored with the run and compared with those of later samples, so a grader keeps no memory."""
        answers = [problem.gold for problem in _some(task)]
        forth = [task.grader.answer_class(answer) for answer in answers]
        back = [task.grader.answer_class(answer) for answer in reversed(answers)][::-1]
        for answer, first, second in zip(answers, forth, back, strict=True):
            assert first == second, f"{answer!r} has class {first!r}, but {second!r} after other answers"

    def test_gold_answers_of_one_class_are_graded_alike(self, task: Task) -> None:
        """One answer per class is graded, so all members of a class must get its verdict."""
        by_class: dict[str, list[Problem]] = {}
        for problem in _some(task):
            by_class.setdefault(task.grader.answer_class(problem.gold), []).append(problem)
        for same in by_class.values():
            _check_alike(task.grader, sorted({problem.gold for problem in same}))


def _check_alike(grader: Grader, golds: Sequence[str]) -> None:
    for gold in golds:
        for answer in golds:
            verdict = grader.grade(gold, answer)
            assert verdict.correct is True, f"{answer!r} and {gold!r} are of one class, but graded {verdict}"


def _some(task: Task) -> Sequence[Problem]:
    """Return at most 50 problems, evenly spread."""
    problems = task.problems()
    return problems[:: -(-len(problems) // _MAX_PROBLEMS)]
