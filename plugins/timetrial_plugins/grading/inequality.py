"""Keys of inequalities: the set of numbers they leave to one name, else the inequality itself."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from timetrial_plugins.grading.expression import Node, parse
from timetrial_plugins.grading.formula import node_key
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.relation import is_label, up_to_factor
from timetrial_plugins.grading.sets import REALS, complement, intersection, union
from timetrial_plugins.grading.structure import Key, sequence_key
from timetrial_plugins.grading.substitution import functions, variables

ORDER = frozenset(("<", "<=", ">", ">="))
_REVERSED = {">": "<", ">=": "<="}
_ZERO: Node = ("number", Fraction(0))
_ONE: Node = ("number", Fraction(1))
_INFINITIES: tuple[Node, ...] = (("infinity",), ("-", ("infinity",)))


def order_key(parts: list[list[str]], operators: list[str]) -> Key:
    """Return a set of numbers for x < 3, -1 < 2x + 1 <= 5 and |x| > 1, else the inequality itself.

    Raises:
        Unreadable: a side is missing or not understood.
    """
    if all(operator in _REVERSED for operator in operators):
        parts, operators = parts[::-1], [_REVERSED[operator] for operator in operators[::-1]]
    if any(operator in _REVERSED for operator in operators) or any(not part for part in parts):
        raise Unreadable("an inequality that is not understood")
    nodes = [_side(part) for part in parts]
    name = _only_name(nodes)
    if name is not None:
        pairs = zip(nodes, operators, nodes[1:], strict=False)
        solutions = [_solution(low, high, operator == "<=", name) for low, operator, high in pairs]
        solved = None if None in solutions else intersection([key for key in solutions if key is not None])
        if solved is not None:
            return solved
    texts = [up_to_factor(("+", high, ("-", low)), is_signed=True) for low, high in zip(nodes, nodes[1:], strict=False)]
    return ("rel", *operators, *texts)


def unequal_key(left: list[str], right: list[str]) -> Key:
    """Return all numbers but one for x != 3, else the inequality itself.

    Raises:
        Unreadable: a side is missing or not understood.
    """
    difference = ("+", _side(left), ("-", _side(right)))
    name = _only_name([difference])
    root = _root(difference, name) if name is not None else None
    others = complement(root.key) if root else None
    return others or ("rel", "!=", up_to_factor(difference))


def subject(parts: list[list[str]]) -> str | None:
    """Return the name that an inequality with these sides says something of; None if there is more than one."""
    try:
        return _only_name([_side(part) for part in parts])
    except Unreadable:
        return None


def _only_name(nodes: list[Node]) -> str | None:
    names = frozenset().union(*(variables(node) for node in nodes))
    return next(iter(names)) if len(names) == 1 and not any(functions(node) for node in nodes) else None


def _side(tokens: list[str]) -> Node:
    """Return one side; what only names something, such as f(x), is a name."""
    if not tokens:
        raise Unreadable("an inequality without a side")
    is_name = is_label(tokens) and "|" not in tokens and not (len(tokens) == 1 and tokens[0] in ("e", "i"))
    return ("name", "".join(tokens)) if is_name else parse(tokens)


def _solution(low: Node, high: Node, is_closed: bool, name: str) -> Key | None:
    """Return the numbers for which low < high (or low <= high); None if they were not found."""
    if low in _INFINITIES or high in _INFINITIES:
        return REALS if low == _INFINITIES[1] or high == _INFINITIES[0] else ("set",)
    if low[:2] == ("call", "abs"):
        sides = [_solution(side, high, is_closed, name) for side in (low[2], ("-", low[2]))]
        return None if None in sides else intersection([side for side in sides if side is not None])
    if high[:2] == ("call", "abs"):
        sides = [_solution(low, side, is_closed, name) for side in (high[2], ("-", high[2]))]
        return None if None in sides else union([side for side in sides if side is not None])
    root = _root(("+", high, ("-", low)), name)
    if root is None:
        return None
    if root.is_rising:
        return sequence_key("[" if is_closed else "(", ")", [root.key, ("infinity", "+")])
    return sequence_key("(", "]" if is_closed else ")", [("infinity", "-"), root.key])


class _Root(NamedTuple):
    key: Key
    is_rising: bool


def _root(node: Node, name: str) -> _Root | None:
    """Return where a formula linear in a name is zero; None if it is not linear, or there is no such real number."""
    linear = _linear(node, name)
    if linear is None:
        return None
    at_zero, slope = linear
    try:
        rise, root = node_key(slope), node_key(("-", ("/", at_zero, slope)))
    except Unreadable:
        return None
    if any(key[0] not in ("q", "n") or "i" in key[1] for key in (rise, root)):
        return None
    return _Root(root, not rise[1].startswith("-"))


def _linear(node: Node, name: str) -> tuple[Node, Node] | None:
    """Return the value at zero and the slope of a formula that is linear in a name, else None."""
    if name not in variables(node):
        return node, _ZERO
    if node[0] == "name":
        return _ZERO, _ONE
    parts = [_linear(part, name) for part in node[1:]] if node[0] in ("+", "-", "*", "/") else [None]
    if None in parts:
        return None
    (start, slope), *others = [part for part in parts if part is not None]
    if not others:
        return ("-", start), ("-", slope)
    ((other_start, other_slope),) = others
    if node[0] == "+":
        return ("+", start, other_start), ("+", slope, other_slope)
    if node[0] == "*" and slope == _ZERO:
        return ("*", start, other_start), ("*", start, other_slope)
    return ((node[0], start, other_start), (node[0], slope, other_start)) if other_slope == _ZERO else None
