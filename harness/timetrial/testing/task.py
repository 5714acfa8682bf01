"""The contract of tasks, that of their graders included: what makes a score mean the same tomorrow."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from timetrial.protocol import Grader, Task
from timetrial.record import Problem
from timetrial.testing.grader import GARBAGE, GraderContract

_MAX_PROBLEMS = 50


class TaskContract(GraderContract):
    """Override `task`. Its grader is checked on its gold answers."""

    @pytest.fixture
    def task(self) -> Task:
        """Return the task under test."""
        raise NotImplementedError("override the fixture `task`")

    @pytest.fixture
    def grader(self, task: Task) -> Grader:
        """Return the task's grader."""
        return task.grader

    @pytest.fixture
    def answers(self, task: Task) -> Sequence[str]:
        """Return gold answers of the task."""
        return [problem.gold for problem in _some(task)]

    def test_it_has_everything_the_protocol_asks_for(self, task: Task) -> None:
        """A task has the protocol's members, and values that can be used."""
        assert isinstance(task, Task), f"{type(task).__name__} lacks a member of timetrial.Task"
        assert isinstance(task.version, str) and task.version, "version must be a non-empty str"
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


def _some(task: Task) -> Sequence[Problem]:
    """Return at most 50 problems, evenly spread."""
    problems = task.problems()
    return problems[:: -(-len(problems) // _MAX_PROBLEMS)]
