"""What is written as a call: Matrix([[1, 2]]), FiniteSet(1, 2), Eq(a, b), as sympy prints them, and points, A(1, 2)."""

from __future__ import annotations

from collections.abc import Callable

from timetrial_plugins.grading.lists import bracketed_key
from timetrial_plugins.grading.sets import union
from timetrial_plugins.grading.structure import Key, encloses, sequence_key, set_key, split

_POINTS = frozenset("ABCDEJKLMNOPQRSTUVWXYZ")
"""The letters of functions, F to H, are not those of points."""

KeyOf = Callable[[list[str]], Key]


def called_key(tokens: list[str], key_of: KeyOf) -> Key | None:
    """Return the key of Matrix([[1, 2]]), FiniteSet(1, 2), Interval(1, 2), Union(...) or A(1, 2), else None."""
    if len(tokens) < 4 or tokens[1] != "(" or not encloses(tokens[1:]):
        return None
    parts = split(tokens[2:-1], (",",))
    if tokens[0] in _POINTS and len(parts) > 1:
        return bracketed_key(tokens[1:], key_of)
    if tokens[0] == "Matrix" and len(parts) == 1:
        return key_of(parts[0])
    if tokens[0] == "FiniteSet":
        return set_key([key_of(part) for part in parts])
    if tokens[0] == "Union":
        return union([key_of(part) for part in parts])
    if tokens[0] == "Interval" and len(parts) == 2:
        return sequence_key("[", "]", [key_of(part) for part in parts])
    return None


def without_eq(tokens: list[str]) -> list[str]:
    """Return the tokens of Eq(a, b) as a = b."""
    if tokens[:2] != ["Eq", "("] or not encloses(tokens[1:]):
        return tokens
    parts = split(tokens[2:-1], (",",))
    return [*parts[0], "=", *parts[1]] if len(parts) == 2 else tokens
