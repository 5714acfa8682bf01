"""Tell by sympy whether two formulas are equal, where their keys could not. For workers only: it may take for ever.

Equal means that the difference is brought to an exact zero. Different means that the values differ by far more than
their error wherever they are looked at, with positive values for the names: at natural numbers and at fractions, so
that it holds whatever the names stand for. A value that is not real is no evidence unless the formulas speak of i.
Everything else stays open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import sympy
from sympy.core.evalf import PrecisionExhausted
from sympy.core.function import AppliedUndef

from timetrial_plugins.grading.as_sympy import UNFINISHED, UNSEEN, Expression, NoForm, as_sympy
from timetrial_plugins.grading.closed_form import closed_form
from timetrial_plugins.grading.expression import Node, parse
from timetrial_plugins.grading.notation import Unreadable, normalise, tokenize

DIGITS = 30
MAX_DIGITS = 400
"""With which sympy may compute in order to have `DIGITS` right ones."""
MIN_DIFFERENCE = sympy.Float("1e-20")
"""Relative; a smaller one that is not exact is no evidence."""
NUM_POSITIVE = 4
"""Points at which all names are positive, out of those that `_point` knows."""
NUM_POINTS = 7
MIN_EVIDENCE = 2
"""Positive points at which formulas with names must differ to be different."""

Relation = Literal["equal", "different", "open"]
Point = dict[str, Expression]


def judge(gold: str, answer: str, domain: bool) -> dict[str, Any]:
    """Return {"correct": ..., "reason": ...} for two formulas as they are written.

    With `domain`, formulas that are equal for positive names are equal if they are so wherever both are real.
    """
    try:
        relation = compare(parse(tokenize(normalise(gold))), parse(tokenize(normalise(answer))), domain=domain)
    except Unreadable as error:
        return {"correct": None, "reason": f"not understood: {error}"}
    except NoForm as error:
        return {"correct": None, "reason": f"undecided: {error}"}
    if relation == "open":
        return {"correct": None, "reason": "undecided: neither equal nor different could be shown"}
    return {"correct": relation == "equal", "reason": None}


def compare(one: Node, other: Node, *, domain: bool = True) -> Relation:
    """Compare two formulas; those with a plus-minus by both of their values.

    Raises:
        NoForm: one of them has no value, or they are equal for positive names only.
    """
    if not _has_sign(one) and not _has_sign(other):
        return _Pair(one, other, 1, 1).relation(domain)
    plus, minus, plus_minus, minus_plus = (
        _Pair(one, other, *signs).relation(domain) for signs in ((1, 1), (-1, -1), (1, -1), (-1, 1))
    )
    if plus == minus == "equal" or plus_minus == minus_plus == "equal":
        return "equal"
    return "different" if "different" in (plus, minus) and "different" in (plus_minus, minus_plus) else "open"


def _has_sign(node: Node) -> bool:
    return node[0] in ("+-", "-+") or any(_has_sign(operand) for operand in node[1:] if isinstance(operand, tuple))


class _Pair:
    """Two formulas, as sympy objects with real symbols for their names and as trees to put values into."""

    def __init__(self, one: Node, other: Node, sign: int, other_sign: int) -> None:
        self.nodes = ((one, sign), (other, other_sign))
        self.written = [as_sympy(node, sign=sign) for node, sign in self.nodes]
        self.closed = self.written
        self.is_complex = any(expression.has(sympy.I) for expression in self.written)

    def relation(self, domain: bool) -> Relation:
        if self.written[0] == self.written[1]:
            return "equal"
        self.closed = [closed_form(expression) for expression in self.written]
        difference = self.closed[0] - self.closed[1]
        if difference.is_Rational:
            return "equal" if difference == 0 else "different"
        symbols = self.closed[0].free_symbols | self.closed[1].free_symbols
        names = sorted(str(symbol) for symbol in symbols if not str(symbol).startswith(UNSEEN))
        found = [self.relation_at(_point(names, index)) for index in range(NUM_POINTS if names else 1)]
        positive, others = found[:NUM_POSITIVE], found[NUM_POSITIVE:]
        if positive.count("different") >= min(MIN_EVIDENCE, len(found)) and "equal" not in positive:
            return "different"
        if "different" in positive:
            return "open"
        return _relation_to_zero(difference, is_domain_forgiven=domain and "different" not in others)

    def relation_at(self, point: Point) -> Relation:
        """Compare the values at a point; equal is what is not certainly different."""
        try:
            first, second = (self.value(index, point) for index in (0, 1))
            difference = first - second
            if difference.is_Rational:
                return "equal" if difference == 0 else "different"
            if difference.free_symbols or difference.has(AppliedUndef):
                return "open"
            sizes = [self.size(number.evalf(DIGITS)) for number in (first, second)]
            gap = self.size(difference.evalf(DIGITS, maxn=MAX_DIGITS, strict=True))
        except NoForm:
            return "open"
        except PrecisionExhausted:
            return "equal"
        return "different" if gap > MIN_DIFFERENCE * max(sizes) else "equal"

    def value(self, index: int, point: Point) -> Expression:
        if self.written[index].has(*UNFINISHED):
            return self.closed[index].subs({sympy.Symbol(name, real=True): value for name, value in point.items()})
        node, sign = self.nodes[index]
        return as_sympy(node, point, sign)

    def size(self, number: Expression) -> Expression:
        """Return the size of a number.

        Raises:
            NoForm: it is none, or not real where it should be.
        """
        real, imaginary = number.as_real_imag()
        size = sympy.Max(sympy.Abs(real), sympy.Abs(imaginary))
        if not size.is_Float and not size.is_Rational:
            raise NoForm("no number")
        if not self.is_complex and abs(imaginary) > MIN_DIFFERENCE * size:
            raise NoForm("a number that is not real")
        return size


def _point(names: list[str], index: int) -> Point:
    """Return values for names: natural numbers, fractions below and above one, negative ones, then both signs."""
    primes = [sympy.prime(5 + place) for place in range(len(names))]
    values: list[list[Expression]] = [
        [sympy.Rational(prime) for prime in primes],
        [sympy.Rational(2 * prime + 1) for prime in primes],
        [sympy.Rational(prime, 1009) for prime in primes],
        [sympy.Rational(prime, 7) for prime in primes],
        [-sympy.Rational(prime, 7) for prime in primes],
        [-sympy.Rational(prime, 1009) for prime in primes],
        [sympy.Rational((-1) ** place * prime, 7) for place, prime in enumerate(primes)],
    ]
    return dict(zip(names, values[index], strict=True))


_STEPS: tuple[Callable[[Expression], Expression], ...] = (
    sympy.expand,
    lambda difference: sympy.cancel(sympy.together(difference)),
    sympy.radsimp,
    sympy.trigsimp,
    sympy.simplify,
)
"""Ways to bring a formula that is zero to zero, the cheap ones first."""


def _relation_to_zero(difference: Expression, *, is_domain_forgiven: bool) -> Relation:
    """Compare a formula with zero, for real names and then for positive ones.

    Raises:
        NoForm: it is zero for positive names only, and that is not enough.
    """
    relation = _brought_to_zero(difference)
    if relation != "open":
        return relation
    positive = {symbol: sympy.Symbol(str(symbol), positive=True) for symbol in difference.free_symbols}
    relation = _brought_to_zero(difference.xreplace(positive)) if positive else "open"
    if relation == "equal" and not is_domain_forgiven:
        raise NoForm("equal for positive values of the names only")
    return relation


def _brought_to_zero(difference: Expression) -> Relation:
    for step in _STEPS:
        result = step(difference)
        if result.is_Rational:
            return "equal" if result == 0 else "different"
    return "equal" if difference.equals(0) is True else "open"
