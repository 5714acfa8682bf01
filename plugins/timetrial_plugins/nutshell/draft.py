"""A story being written: its sentences so far, the solution steps behind them, and how hard it may get.

Knows arithmetic and difficulty, not what the stories are about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

Choice = TypeVar("Choice")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a solution: `value` is what `expression` evaluates to, `text` says so in words."""

    text: str
    expression: str
    """Integers with + - * /, by the usual precedence, for example "80 * 20 / 100"."""
    value: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Difficulty:
    """How long and how large the arithmetic of one level is; ranges include both ends."""

    steps: tuple[int, int]
    start: tuple[int, int]
    """The first amount of a story."""
    change: tuple[int, int]
    """What is added or taken away in one go."""
    factor: tuple[int, int]
    """The small operand of products and quotients."""
    ceiling: int
    """No amount in the story exceeds it; sums over people or goods may."""


DIFFICULTIES = {
    1: Difficulty(steps=(2, 2), start=(3, 20), change=(2, 9), factor=(2, 4), ceiling=30),
    2: Difficulty(steps=(3, 3), start=(5, 30), change=(2, 12), factor=(2, 5), ceiling=50),
    3: Difficulty(steps=(4, 4), start=(5, 40), change=(2, 20), factor=(2, 5), ceiling=80),
    4: Difficulty(steps=(5, 5), start=(10, 60), change=(3, 30), factor=(2, 6), ceiling=100),
    5: Difficulty(steps=(6, 7), start=(10, 90), change=(3, 50), factor=(2, 9), ceiling=150),
}
"""By level, 1 (easy) to 5."""

PORTIONS = (
    ("half", 1, 2),
    ("a third", 1, 3),
    ("a quarter", 1, 4),
    ("a fifth", 1, 5),
    ("two thirds", 2, 3),
    ("three quarters", 3, 4),
    ("10%", 10, 100),
    ("20%", 20, 100),
    ("25%", 25, 100),
)
"""Parts of an amount: wording, numerator, denominator."""


TIMES = {2: "twice", **{k: f"{k} times" for k in range(3, 10)}}
"""Wording of a factor, as in "twice as many"."""


@dataclass(kw_only=True, slots=True)
class Draft:
    """The story under construction. Everything random in it is drawn from `random`."""

    random: Random
    difficulty: Difficulty
    num_steps: int
    """How many solution steps the finished story must have."""
    sentences: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    """The templates used so far, so that a story does not repeat itself needlessly."""

    @property
    def steps_left(self) -> int:
        """Steps still to be written."""
        return self.num_steps - len(self.steps)

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """Return one of `choices`, each as likely."""
        return choices[self.random.randrange(len(choices))]

    def between(self, bounds: tuple[int, int]) -> int:
        """Return an integer between both bounds, ends included."""
        return self.random.randint(*bounds)

    def tell(self, templates: Sequence[str], **fields: object) -> None:
        """Add a sentence to the story, in one of the given wordings: an unused one if there is any."""
        template = self.pick([t for t in templates if t not in self.told] or templates)
        self.told.add(template)
        sentence = template.format(**fields)
        self.sentences.append(sentence[0].upper() + sentence[1:])

    def solve(self, template: str, expression: str, value: int, **fields: object) -> int:
        """Add a solution step; `template` has the field {sum}. Returns `value`."""
        text = template.format(sum=f"{expression} = {value}", **fields)
        self.steps.append(Step(text=text, expression=expression, value=value))
        return value
