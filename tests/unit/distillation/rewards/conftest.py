import json
import re

import pytest

from timetrial.protocol import Generation
from timetrial.record import Problem
from timetrial.stages.grade import GradedTask
from timetrial.stages.judge import Graders
from timetrial.testing.fake import FakeTask
from timetrial_distillation.rewards.labels import LabelledSolution
from timetrial_distillation.rewards.problems import ProblemSet


@pytest.fixture
def solution():
    """Return a function that makes a labelled solution: of each step, its right rollouts of four."""

    def make(right, problem="p", truth=None, **changes):
        steps = tuple(f"Step {number}." for number in range(len(right)))
        values = {"problem_id": problem, "problem": f"Problem {problem}?", "steps": steps, "truth": truth}
        counts = {"right": tuple(right), "rollouts": (*(4,) * (len(right) - 1), max(1, right[-1]))}
        return LabelledSolution(**{**values, **counts, **changes})

    return make


class ScriptedModel:
    """Solves in the steps it is given, and goes on from any prefix of them; remembers what it was asked.

    The answer of a rollout is the problem's gold if its number is below the number of steps that came before.
    """

    def __init__(self, texts):
        self.texts = texts
        self.asked = []
        self.has_failed = lambda problem, sample: False
        """Of rollouts."""

    def generate(self, requests, sampling, *, batch_size):
        for request in reversed(requests):
            self.asked.append(request)
            yield self._answer(request, request.prompt.problem.partition("/")[0])

    def _answer(self, request, problem):
        text, finish, error = self.texts[problem][request.sample % len(self.texts[problem])], "stop", None
        if request.prompt.start:
            done = len(re.findall("\n\n", request.prompt.start))
            text = f"so 7{problem}" if request.sample < done else "so 0"
            text = "FAIL" if self.has_failed(problem, request.sample) else text
        if text == "FAIL":
            text, finish, error = "", "error", "out of luck"
        return Generation(
            request=request,
            text=text,
            finish=finish,
            num_prompt_tokens=1,
            num_tokens=1,
            prompt_digest="",
            error=error,
        )


@pytest.fixture
def scripted():
    return ScriptedModel


@pytest.fixture
def problem_set():
    """Problems 1 to 3, whose answers are 71, 72 and 73."""
    problems = tuple(Problem(id=str(n), text=f"What is 7{n}?", gold=f"7{n}") for n in (1, 2, 3))
    task = FakeTask()
    graded = GradedTask(task=task, problems={p.id: p for p in problems}, graders=Graders(grader=task.grader))
    return ProblemSet(problems=problems, graded=graded, truth=None, facts={})


@pytest.fixture
def write_lines():
    """Return a function that writes JSON lines and returns the path."""

    def write(path, records):
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return path

    return write
