"""Whether two formulas agree wherever both have real values."""

from __future__ import annotations

from itertools import product

from timetrial_plugins.grading.binders import TAGS as BINDERS
from timetrial_plugins.grading.expression import Node
from timetrial_plugins.grading.formula import node_key
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.structure import Key
from timetrial_plugins.grading.substitution import functions, substituted, unremarkable, variables

MAX_NAMES = 5


def agree_where_real(one: Node, other: Node) -> bool | None:
    """Whether two formulas agree wherever both are real throughout; their names take either sign in all combinations.

    A formula is real throughout where none of its parts is complex, as the product of the roots of two negative
    numbers has. Of formulas with the number i, unknown functions or many names, this says nothing: None.
    """
    names = variables(one) | variables(other)
    if len(names) > MAX_NAMES or any(functions(node) or _has_i(node) for node in (one, other)):
        return None
    num_compared = 0
    for signs in product((1, -1), repeat=len(names)):
        at = {name: ("number", sign * unremarkable(name)) for name, sign in zip(sorted(names), signs, strict=True)}
        values = [_real_value(substituted(node, at)) for node in (one, other)]
        if None in values:
            continue
        if values[0] != values[1]:
            return False
        num_compared += 1
    return True if num_compared else None


def _has_i(node: Node) -> bool:
    return node == ("constant", "i") or any(_has_i(part) for part in node[1:] if isinstance(part, tuple))


def _real_value(node: Node) -> Key | None:
    """Return the key of a formula without names; None if it, or a part of it, has no real value."""
    parts = [part for part in node[1:] if isinstance(part, tuple) and node[0] not in BINDERS]
    if any(_real_value(part) is None for part in parts):
        return None
    try:
        key = node_key(node)
    except Unreadable:
        return None
    return key if key[0] in ("q", "exact") or key[0] == "n" and "i" not in key[1] else None
