"""Which steps of a nutshell solution are right, exactly: the arithmetic of the text against the worked solution.

A step is right if its equation holds and is the one that the worked solution has at that place, the order of terms and
factors aside, and if all steps before it are right: what goes on from a wrong step is wrong, as in ProcessBench (arXiv
2412.06559).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from operator import and_

from timetrial_plugins.nutshell.generator import ANSWER_PREFIX, NutshellProblem

_NUMBER = r"(?<!\d)\d{1,12}(?!\d)"
_EQUATION = re.compile(rf"({_NUMBER}(?: [-+*/] {_NUMBER})+) = ({_NUMBER})")


def true_steps(problem: NutshellProblem, steps: Sequence[str]) -> tuple[bool, ...]:
    """Return, of each step, whether it and all before it are right."""
    return tuple(accumulate((_is_right(problem, number, step) for number, step in enumerate(steps)), and_))


def _is_right(problem: NutshellProblem, number: int, step: str) -> bool:
    if number == len(problem.steps):
        return step == ANSWER_PREFIX + problem.answer
    equations = _EQUATION.findall(step)
    if number > len(problem.steps) or len(equations) != 1:
        return False
    expression, value = equations[0]
    expected = problem.steps[number]
    is_same = sorted(expression.split(" ")) == sorted(expected.expression.split(" "))
    return is_same and _value(expression) == int(value) == expected.value


def _value(expression: str) -> Fraction | None:
    """Return what integers with + - * / come to, by the usual precedence; None if that divides by zero."""
    first, *rest = expression.split(" ")
    total, term = Fraction(0), Fraction(int(first))
    for operator, digits in zip(rest[::2], rest[1::2], strict=True):
        number = int(digits)
        if operator == "*":
            term *= number
        elif operator == "/":
            if number == 0:
                return None
            term /= number
        else:
            total, term = total + term, Fraction(number if operator == "+" else -number)
    return total + term
