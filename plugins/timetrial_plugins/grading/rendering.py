"""Write a key as text and read it back. Different keys give different texts, and a key's text has that very key."""

from __future__ import annotations

import json
import re

from timetrial_plugins.grading.notation import MAX_NESTING, Unreadable
from timetrial_plugins.grading.structure import Key

MAX_DEPTH = 2 * MAX_NESTING
"""Of keys in keys: a pair of brackets makes at most two levels."""
_DIGEST = "[0-9a-f]{24}"
_SHAPES = {
    "q": r"-?\d{1,420}(?:/[1-9]\d{0,420})?",
    "n": r"[-+\d.ei]+",
    "expr": rf"{_DIGEST}\|{_DIGEST}",
    "exact": r"[-+\d.ei]+\|.+",
    "eq": r"[^|]*\|.+",
    "rel": r"[<>=!]+\|.+",
    "infinity": r"[-+]",
    "base": r"-?[0-9A-Z.]+\|\d+",
    "text": r".+",
    "unit": r"\(\)\|[^|]+",
    "ratio": r"\(\)(?:\|\(\))*",
    "time": r"\d+:\d\d(?::\d\d)?\|(?:[ap]m)?",
    "mod": r"\(\)\|\(\)",
    "choice": r"[A-Z]\|\(\)",
    "seq": r"[^|]+\|[^|]+(?:\|\(\))+",
    "set": r"(?:\(\)(?:\|\(\))*)?",
    "list": r"(?:\(\)|\.\.\.)(?:\|(?:\(\)|\.\.\.))*",
    "union": r"\(\)(?:\|\(\))+",
    "matrix": r"\[\](?:\|\[\])*",
    "named": r"<>(?:\|<>)*",
    "cases": r"\[\](?:\|\[\])*",
    "raw": r".*",
}
"""How a key of each tag looks behind its tag: a key in it is written (), a row of keys [], a name and its key <>."""
_PATTERNS = {tag: re.compile(shape, re.DOTALL) for tag, shape in _SHAPES.items()}


def render(key: Key) -> str:
    """Return a key as text: a rational number as itself, other keys as JSON."""
    return str(key[1]) if key[0] == "q" else json.dumps(key, separators=(",", ":"))


def from_rendered(text: str) -> Key:
    """Return the key that `render` made a JSON text of.

    Raises:
        Unreadable: it is no such text.
    """
    try:
        key = _tuples(json.loads(text))
        if _kind(key) != "()" or render(key) != text:
            raise ValueError("no key")
        return key
    except (ValueError, RecursionError):
        raise Unreadable("a list in a notation that is not understood") from None


def _tuples(value: object, depth: int = 0) -> Key:
    if depth > MAX_DEPTH or not isinstance(value, list) or not all(isinstance(part, (str, list)) for part in value):
        raise ValueError("a key holds strings and keys, and is not deep")
    return tuple(part if isinstance(part, str) else _tuples(part, depth + 1) for part in value)


def _kind(value: Key | str) -> str:
    """Return () for a key, [] for a row of keys, <> for a name and its key, and a string as it is.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(value, str):
        return value
    kinds = [_kind(part) for part in value]
    if value and isinstance(value[0], str) and value[0] in _PATTERNS:
        if _PATTERNS[value[0]].fullmatch("|".join(kinds[1:])):
            return "()"
    if kinds and all(kind == "()" for kind in kinds):
        return "[]"
    if len(value) == 2 and isinstance(value[0], str) and kinds[1] == "()":
        return "<>"
    raise ValueError("no key")
