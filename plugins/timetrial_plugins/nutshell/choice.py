"""The nutshell's multiple-choice set: a stand-in for general benchmarks, small enough for models of its vocabulary.

It is no general benchmark, and nothing but the nutshell's models can be compared on it. Each item breaks a worked
solution off and offers four ways to go on, of which one is right. Nothing has to be generated, and no chain of steps:

    fact        a calculation of one step, written out                       12 + 7   = 19 | = 18 | = 29 | = 20
    operation   which calculation the words ask for                          has 12   + 7 | - 7 | * 7 | / 7
    thing       what the story is about                                      = 19   shells | coins | cards | beads
    person      who in the story is meant, and not somebody else             Together with   Ken | Mia | Tom | Eva
    reading     the result, once all steps are written                       The final answer is   64 | 46 | 45 | 27

Stories come from the bucket that training never meets, and none has the calculations of a test problem.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from timetrial_plugins.nutshell.generator import ANSWER_PREFIX, LEVELS, NutshellProblem, make_problem, test_problems
from timetrial_plugins.nutshell.words import COLLECTED, GOODS, PEOPLE, SETTINGS

if TYPE_CHECKING:
    import datasets

SEED = 2503
NUM_PER_SUBJECT = 80
NUM_CHOICES = 4

_ARITHMETIC = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
_NAMES = tuple(person.name for person in PEOPLE)
_THINGS = tuple(dict.fromkeys((*COLLECTED, *GOODS, *(thing for setting in SETTINGS for thing in setting.things))))


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceItem:
    """One item: a story, the solution as far as it is given, and four continuations."""

    id: str
    subject: str
    """fact, operation, thing, person or reading."""
    question: str
    start: str
    """The solution up to the gap. It ends neither in white space nor in a sign that the tokenizer joins with the next
    space, so that it is the same tokens whatever follows."""
    choices: tuple[str, ...]
    """Continuations, each to be read after a space; all different."""
    gold: int
    """Which of them is right, from 0."""


@dataclass(frozen=True, slots=True)
class _Gap:
    """Where a solution is broken off, and how it goes on, rightly and wrongly."""

    start: str
    right: str
    wrong: list[str]


@functools.cache
def choice_items() -> tuple[ChoiceItem, ...]:
    """Return the items, 80 a subject; always the same."""
    random = Random(f"nutshell-choice-{SEED}")
    taken = {_calculations(problem) for problem in test_problems()}
    items = []
    for subject, make in _GAPS.items():
        made = 0
        while made < NUM_PER_SUBJECT:
            problem = make_problem(random, random.choice(LEVELS), "nutshell-choice")
            if problem.bucket != 0 or _calculations(problem) in taken:
                continue
            gap = make(problem, random)
            if gap is None:
                continue
            taken.add(_calculations(problem))
            items.append(_item(f"{subject}-{made:03d}", subject, problem, gap, random))
            made += 1
    return tuple(items)


def dataset(**_: object) -> datasets.DatasetDict:
    """Return the items as lm-eval's tasks take their data: one split, test."""
    import datasets

    rows = [
        {
            "id": item.id,
            "subject": item.subject,
            "question": item.question,
            "start": item.start,
            "choices": list(item.choices),
            "gold": item.gold,
        }
        for item in choice_items()
    ]
    return datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})


def _item(item_id: str, subject: str, problem: NutshellProblem, gap: _Gap, random: Random) -> ChoiceItem:
    choices = [gap.right, *gap.wrong]
    random.shuffle(choices)
    return ChoiceItem(
        id=f"nutshell-choice-{item_id}",
        subject=subject,
        question=problem.text,
        start=gap.start,
        choices=tuple(choices),
        gold=choices.index(gap.right),
    )


def _calculations(problem: NutshellProblem) -> tuple[str, ...]:
    return problem.subject, *(step.expression for step in problem.steps)


def _fact(problem: NutshellProblem, random: Random) -> _Gap | None:
    """Break off before the result of a step; the others are near it, or have its digits in another order."""
    found = random.choice([*_ARITHMETIC.finditer(problem.solution)] or [None])
    if found is None:
        return None
    value = int(found[4])
    near = {value + change for change in (-10, -2, -1, 1, 2, 10)} | {int(found[4][::-1])}
    others = _comparable(found[4], [str(number) for number in sorted(near) if number > 0])
    if len(others) < NUM_CHOICES - 1:
        return None
    wrong = random.sample(others, NUM_CHOICES - 1)
    return _Gap(problem.solution[: found.end(3)], f"= {value}", [f"= {number}" for number in wrong])


def _operation(problem: NutshellProblem, random: Random) -> _Gap | None:
    """Break off behind the first number of a step; the others calculate otherwise with the second."""
    found = random.choice([*_ARITHMETIC.finditer(problem.solution)] or [None])
    if found is None:
        return None
    others = [f"{sign} {found[3]}" for sign in "+-*/" if sign != found[2]]
    return _Gap(problem.solution[: found.end(1)], f"{found[2]} {found[3]}", others)


def _thing(problem: NutshellProblem, random: Random) -> _Gap | None:
    """Break off before the word for what is counted; the others are things that the story does not mention."""
    found = random.choice([*re.finditer(r"= \d+ (\w+)", problem.solution)] or [None])
    if found is None or found[1] not in _THINGS:
        return None
    absent = [thing for thing in _THINGS if thing not in problem.text and thing not in problem.solution]
    start = problem.solution[: found.start(1)].rstrip()
    return _Gap(start, found[1], random.sample(absent, NUM_CHOICES - 1))


def _person(problem: NutshellProblem, random: Random) -> _Gap | None:
    """Break off before a name within a step; the others are people whom the story does not mention."""
    found = random.choice([*re.finditer(rf"(?<=\S )({'|'.join(_NAMES)})\b", problem.solution)] or [None])
    if found is None:
        return None
    absent = [name for name in _NAMES if name not in problem.text]
    start = problem.solution[: found.start(1)].rstrip()
    return _Gap(start, found[1], random.sample(absent, NUM_CHOICES - 1))


def _reading(problem: NutshellProblem, random: Random) -> _Gap | None:
    """Break off before the final answer; the others are numbers that the solution mentions."""
    start = problem.solution.removesuffix(problem.answer).rstrip()
    assert start.endswith(ANSWER_PREFIX.rstrip())
    others = _comparable(problem.answer, sorted(set(re.findall(r"\d+", start)), key=int))
    if len(others) < NUM_CHOICES - 1:
        return None
    return _Gap(start, problem.answer, random.sample(others, NUM_CHOICES - 1))


def _comparable(right: str, numbers: Iterable[str]) -> list[str]:
    """Return the numbers of which neither is the beginning of the right one nor the other way round.

    The beginning of a text is never less likely than the text, whatever a model knows.
    """
    return [number for number in numbers if not number.startswith(right) and not right.startswith(number)]


_GAPS: Mapping[str, Callable[[NutshellProblem, Random], _Gap | None]] = {
    "fact": _fact,
    "operation": _operation,
    "thing": _thing,
    "person": _person,
    "reading": _reading,
}
