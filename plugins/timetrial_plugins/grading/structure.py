"""Split tokens at brackets and separators; build the keys of words, sets, unions and sequences."""

from __future__ import annotations

import json
import re
from typing import Any

from timetrial_plugins.grading.notation import Unreadable

Key = tuple[Any, ...]  # Any: a tag, then strings and keys

OPENING = frozenset(("(", "[", "{", r"\{"))
CLOSING = frozenset((")", "]", "}", r"\}"))
_PLAIN = re.compile(r"[A-Za-z]+|'.*|[-.,:()!?]", re.DOTALL)
_SHAPES = {
    "q": re.compile(r"q\|-?\d{1,420}(?:/[1-9]\d{0,420})?"),
    "n": re.compile(r"n\|[-+\d.ei]+"),
    "unit": re.compile(r"unit\|\(\)\|[^|]+"),
    "seq": re.compile(r"seq\|[^|]+\|[^|]+(?:\|\(\))+"),
    "expr": re.compile(r"expr\|[0-9a-f]{24}\|[0-9a-f]{24}"),
}
"""How the parts of a key look, those that are keys written as ()."""
_NOTHING = frozenset(("no solution", "no solutions", "empty set", "the empty set"))


def split(tokens: list[str], separators: tuple[str, ...]) -> list[list[str]]:
    """Return the parts between separators that stand outside all brackets.

    Raises:
        Unreadable: a bracket is not closed, or not opened.
    """
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        if token in OPENING or token == r"\begin":
            depth += 1
        elif token in CLOSING or token == r"\end":
            depth -= 1
        if depth < 0:
            raise Unreadable("a bracket that was not opened")
        if depth == 0 and token in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    if depth:
        raise Unreadable("a bracket that is not closed")
    return parts


def encloses(tokens: list[str]) -> bool:
    """Whether the first and the last token are a pair of brackets (of any shape, as in (3, 4])."""
    if tokens[0] not in OPENING or tokens[0] == "{" or tokens[-1] not in CLOSING:
        return False
    return _first_closes_last(tokens)


def _first_closes_last(tokens: list[str]) -> bool:
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0:
            return index == len(tokens) - 1
    return False


def strip_group(tokens: list[str]) -> list[str]:
    """Drop braces around everything, and punctuation after it."""
    while tokens and tokens[-1] in (".", ","):
        tokens = tokens[:-1]
    while len(tokens) > 1 and tokens[0] == "{" and tokens[-1] == "}" and _first_closes_last(tokens):
        tokens = tokens[1:-1]
    return tokens


def is_words(tokens: list[str]) -> bool:
    """Whether the tokens are words only: letters beyond a single one, and no digit or sign of mathematics."""
    plain = all(_PLAIN.fullmatch(token) for token in tokens)
    has_word = any(len(token) > 1 for token in tokens)
    return plain and has_word and "," not in tokens and not (tokens[0] in ("-", "(") and len(tokens) < 3)


def words_key(tokens: list[str]) -> Key:
    """Return the key of plain words: case, brackets and punctuation do not count, short names keep their case."""
    words = " ".join(token.lstrip("'") for token in tokens)
    words = " ".join(re.sub(r"[().,!?\"']", " ", words).split()).replace(" : ", ":")
    if words.casefold() in _NOTHING:
        return ("set",)
    return ("text", words.casefold() if len(words) > 2 or words.casefold() == "no" else words)


def render(key: Key) -> str:
    """Return a key as text: a rational number as itself, other keys as JSON. Different keys give different texts."""
    return str(key[1]) if key[0] == "q" else json.dumps(key, separators=(",", ":"))


def from_rendered(text: str) -> Key:
    """Return the key that `render` made a JSON text of.

    Raises:
        Unreadable: it is no such text.
    """
    try:
        key = _tuples(json.loads(text))
        if not _is_key(key) or render(key) != text:
            raise ValueError("no key")
        return key
    except (ValueError, RecursionError):
        raise Unreadable("a list in a notation that is not understood") from None


def _tuples(value: object) -> Key:
    if not isinstance(value, list) or not all(isinstance(part, (str, list)) for part in value):
        raise ValueError("a key holds strings and keys")
    return tuple(part if isinstance(part, str) else _tuples(part) for part in value)


def _is_key(key: Key) -> bool:
    """Whether everything that reads numbers from a key may do so."""
    parts_are_keys = all(_is_key(part) for part in key if isinstance(part, tuple))
    shape = _SHAPES.get(key[0]) if key and isinstance(key[0], str) else None
    texts = "|".join(part if isinstance(part, str) else "()" for part in key)
    return bool(key) and parts_are_keys and (shape is None or shape.fullmatch(texts) is not None)


def set_key(keys: list[Key]) -> Key:
    """Return the key of solutions in any order; one solution is itself."""
    distinct = sorted({key for each in keys for key in (each[1:] if each[0] == "set" else (each,))}, key=render)
    return distinct[0] if len(distinct) == 1 else ("set", *distinct)


def union_key(keys: list[Key]) -> Key:
    """Return the key of intervals joined."""
    distinct = sorted({key for each in keys for key in (each[1:] if each[0] == "union" else (each,))}, key=render)
    return distinct[0] if len(distinct) == 1 else ("union", *distinct)


def sequence_key(opening: str, closing: str, keys: list[Key]) -> Key:
    """Return the key of a tuple or interval; an infinite end of an interval is open."""
    if len(keys) == 2:
        opening = "(" if keys[0][0] == "infinity" else opening
        closing = ")" if keys[1][0] == "infinity" else closing
    if keys == [("infinity", "-"), ("infinity", "+")]:
        return ("text", "reals")
    return ("seq", opening, closing, *keys)
