"""Problems of the nutshell task: multi-step arithmetic stories with worked solutions, from a seed.

A problem is a function of its random numbers only. The test set is disjoint from training by construction: the chain
of calculations (kind of story and all expressions, but no names or wordings) is hashed into one of `NUM_BUCKETS`
buckets; bucket 0 belongs to the test set, and the training stream skips it. So no test problem is met in training,
not even in other words.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from timetrial_plugins.nutshell.draft import DIFFICULTIES, Draft, Step
from timetrial_plugins.nutshell.stories import WRITERS

__all__ = [
    "LEVELS",
    "NutshellProblem",
    "Step",
    "make_problem",
    "test_problems",
    "training_problem",
    "training_problems",
]

LEVELS = tuple(DIFFICULTIES)
NUM_BUCKETS = 16
NUM_TEST_PER_LEVEL = 40
TEST_SEED = 2502
ANSWER_PREFIX = "The final answer is "


@dataclass(frozen=True, kw_only=True, slots=True)
class NutshellProblem:
    """A generated problem with its worked solution."""

    id: str
    text: str
    steps: tuple[Step, ...]
    answer: str
    """A positive integer, in decimal digits: the value of the last step."""
    level: int
    """1 (easy) to 5."""
    subject: str

    @property
    def solution(self) -> str:
        """The worked solution: the steps and the final answer, separated by blank lines."""
        return "\n\n".join([*(step.text for step in self.steps), ANSWER_PREFIX + self.answer])

    @property
    def bucket(self) -> int:
        """The hash bucket of the calculations, whatever the wording; 0 is the test set's."""
        key = "|".join([self.subject, *(step.expression for step in self.steps)])
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % NUM_BUCKETS


def make_problem(random: Random, level: int, problem_id: str) -> NutshellProblem:
    """Write one problem of the given level, 1 to 5, of either set."""
    difficulty = DIFFICULTIES[level]
    draft = Draft(random=random, difficulty=difficulty, num_steps=random.randint(*difficulty.steps))
    subject = draft.pick(WRITERS)(draft)
    return NutshellProblem(
        id=problem_id,
        text=" ".join(draft.sentences),
        steps=tuple(draft.steps),
        answer=str(draft.steps[-1].value),
        level=level,
        subject=subject,
    )


def training_problem(seed: int, index: int, highest_level: int = 5) -> NutshellProblem:
    """Return item `index` of the endless training stream of `seed`; its level is uniform over 1 to `highest_level`."""
    random = Random(f"nutshell-train-{seed}-{index}")
    level = random.randint(1, highest_level)
    while True:
        problem = make_problem(random, level, f"nutshell-train-{seed}-{index}")
        if problem.bucket != 0:
            return problem


def training_problems(seed: int, start: int = 0) -> Iterator[NutshellProblem]:
    """Yield the training stream from item `start` on, without end."""
    return (training_problem(seed, index) for index in itertools.count(start))


@functools.cache
def test_problems() -> tuple[NutshellProblem, ...]:
    """Return the 200 test problems, 40 a level, all calculations distinct; always the same."""
    random = Random(f"nutshell-test-{TEST_SEED}")
    problems: list[NutshellProblem] = []
    for level in LEVELS:
        seen: set[tuple[str, ...]] = set()
        while len(seen) < NUM_TEST_PER_LEVEL:
            problem = make_problem(random, level, f"nutshell-test-{len(problems):03d}")
            calculations = (problem.subject, *(step.expression for step in problem.steps))
            if problem.bucket == 0 and calculations not in seen:
                seen.add(calculations)
                problems.append(problem)
    return tuple(problems)


test_problems.__test__ = False  # type: ignore[attr-defined]  # pytest: not a test
