"""Whether two equations have the same solutions."""

from __future__ import annotations

from fractions import Fraction

from timetrial_plugins.grading.expression import Node
from timetrial_plugins.grading.formula import node_key
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.substitution import functions, substituted, unremarkable, variables

_ZERO = ("q", "0")


def same_solutions(one: Node, other: Node) -> bool | None:
    """Whether two formulas are zero together; None if that cannot be told.

    Unremarkable numbers, positive and negative, are put in place of all names but one, in which a formula is linear or
    quadratic; where it is zero, the other one must be, and the other way round.
    """
    if functions(one) or functions(other):
        return None
    if variables(one) != variables(other):
        return False
    implied = [_implies(*pair, sign) for pair in ((one, other), (other, one)) for sign in (1, -1)]
    return False if False in implied else None if None in implied else True


def _implies(one: Node, other: Node, sign: int) -> bool | None:
    """Whether the second formula is zero where the first one is, names having one sign; None if no zero is found."""
    names = sorted(variables(one))
    for name in names:
        at = {other_name: _number(sign * unremarkable(other_name)) for other_name in names if other_name != name}
        roots = _roots(substituted(one, at), name)
        zeros = [_is_zero(substituted(other, {**at, name: root})) for root in roots]
        if zeros and None not in zeros:
            return all(zeros)
    return None


def _roots(node: Node, name: str) -> list[Node]:
    """Return where a formula with one name is zero, if it is linear or quadratic in it; else nothing."""
    low, start, high = (substituted(node, {name: _number(Fraction(x))}) for x in (-1, 0, 1))
    curve = _half(("+", ("+", high, low), ("*", _number(Fraction(-2)), start)))
    slope = _half(("+", high, ("-", low)))
    for x in (Fraction(5, 2), Fraction(-7, 3)):
        parabola = ("+", ("+", ("*", curve, _number(x * x)), ("*", slope, _number(x))), start)
        if not _is_zero(("+", parabola, ("-", substituted(node, {name: _number(x)})))):
            return []
    if _is_zero(curve):
        return [("-", ("/", start, slope))]
    discriminant = ("+", ("*", slope, slope), ("*", _number(Fraction(-4)), ("*", curve, start)))
    root = ("call", "sqrt", discriminant, _number(Fraction(2)))
    return [_half(("/", ("+", ("-", slope), side), curve)) for side in (root, ("-", root))]


def _number(value: Fraction) -> Node:
    return ("number", value)


def _half(node: Node) -> Node:
    return ("/", node, _number(Fraction(2)))


def _is_zero(node: Node) -> bool | None:
    """Whether a formula without names is zero; None if it has no value."""
    try:
        return node_key(node) == _ZERO
    except Unreadable:
        return None
