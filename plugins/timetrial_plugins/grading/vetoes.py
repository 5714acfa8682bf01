"""Where math-verify is not to be believed, as far as the two texts show it.

math-verify is made to find equal what is equal, and drops what it has no room for: the base of a number, a unit's
exponent, the order of a tuple, an equation's other side. Each rule below names a pair that it calls equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_NOISE = re.compile(r"\\(?:left|right|[,;:! ])|[\s$]")
_BASE = re.compile(r"\d_\{?(?:\\text\{)?(\w+)")
_UNIT = re.compile(r"\d(?:\\(?:text|textrm|mbox|mathrm)\{)?([A-Za-z/]+)\}?(?:\^\{?(-?\d+))?\}?$")
_EQUALS = re.compile(r"(?<![<>!\\])=")
_LABELLED_ZERO = re.compile(r"(?:\\[A-Za-z]+|[A-Z]+|[a-z])'*(?:_\{?\w+\}?)?(?:\([^()]*\))?=0")
_SIGN_BEFORE_VALUE = re.compile(r"=|\\in(?![a-z])")
_MISREAD = {
    "digits with a space between them": re.compile(r"(?<!frac)(?<!frac )\d\s+\d"),  # 1 000 is zero
    "dots": re.compile(r"\\[lc]?dots|\.\.\.|\u2026"),  # 1, 2, \\ldots, 9 is 1, 2, 9
}


def misread(text: str) -> str | None:
    """Return what in an answer math-verify takes for something else; None if there is nothing of the kind."""
    return next((what for what, pattern in _MISREAD.items() if pattern.search(text)), None)


def overlooked(gold: str, answer: str) -> str | None:
    """Return what math-verify may have overlooked when it calls two answers equal; None if nothing."""
    one, other = (_NOISE.sub("", text) for text in (gold, answer))
    return next((what for what, holds in _OVERLOOKED.items() if holds(one, other)), None)


def _have_other_bases(one: str, other: str) -> bool:
    """204_5 and 204_6, or 204."""
    return _BASE.findall(one) != _BASE.findall(other)


def _have_other_units(one: str, other: str) -> bool:
    """5 cm^2 and 5 cm^3. A unit on one side only is forgiven, as timetrial's own grader does."""
    units = [_UNIT.search(text) for text in (one, other)]
    return units[0] is not None and units[1] is not None and units[0].groups() != units[1].groups()


def _has_one_equation(one: str, other: str) -> bool:
    """xy = 0 and 0; but x = 0 only labels its value."""
    equations = [text for text in (one, other) if _EQUALS.search(text)]
    return len(equations) == 1 and equations[0].endswith("=0") and not _LABELLED_ZERO.fullmatch(equations[0])


def _has_one_tuple(one: str, other: str) -> bool:
    """(2, 1) and 1, 2."""
    return _is_tuple(one) != _is_tuple(other)


def _is_tuple(text: str) -> bool:
    """Whether a text, or what follows the last = or \\in, is a tuple or an interval."""
    value = _SIGN_BEFORE_VALUE.split(text)[-1]
    depth = 0
    for place, character in enumerate(value):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return value[0] in "([" and place == len(value) - 1 and "," in value
    return False


def _are_other_words(one: str, other: str) -> bool:
    """AB and BA, which are products of the same letters."""
    return one.isalpha() and other.isalpha() and one.casefold() != other.casefold()


_OVERLOOKED: dict[str, Callable[[str, str], bool]] = {
    "the base of a number": _have_other_bases,
    "a unit": _have_other_units,
    "one side of an equation": _has_one_equation,
    "the order of a tuple": _has_one_tuple,
    "the order of letters": _are_other_words,
}
"""What math-verify overlooks, and whether it may have done so; the texts come without spaces and dollars."""

RULES = (*_MISREAD, *_OVERLOOKED)
