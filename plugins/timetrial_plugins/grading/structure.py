"""Split tokens at brackets and separators; put the keys of sets and sequences together."""

from __future__ import annotations

from typing import Any

from timetrial_plugins.grading.notation import Unreadable

Key = tuple[Any, ...]  # Any: a tag, then strings and keys

OPENING = frozenset(("(", "[", "{", r"\{"))
CLOSING = frozenset((")", "]", "}", r"\}"))
DEPTH = {**dict.fromkeys((*OPENING, r"\begin"), 1), **dict.fromkeys((*CLOSING, r"\end"), -1)}
"""By how much a token changes the depth of brackets and environments."""


def split(tokens: list[str], separators: tuple[str, ...]) -> list[list[str]]:
    """Return the parts between separators that stand outside all brackets.

    Raises:
        Unreadable: a bracket is not closed, or not opened.
    """
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        change = DEPTH.get(token)
        if change is not None:
            depth += change
            if depth < 0:
                raise Unreadable("a bracket that was not opened")
        elif depth == 0 and token in separators:
            parts.append([])
            continue
        parts[-1].append(token)
    if depth:
        raise Unreadable("a bracket that is not closed")
    return parts


def encloses(tokens: list[str], opening: frozenset[str] = OPENING - {"{"}) -> bool:
    """Whether the first and the last token are a pair of brackets (of any shape, as in (3, 4])."""
    return tokens[0] in opening and tokens[-1] in CLOSING and _first_closes_last(tokens)


def is_braced(tokens: list[str]) -> bool:
    """Whether the tokens are a set in braces, with or without backslashes."""
    return len(tokens) > 1 and encloses(tokens, frozenset(("{", r"\{"))) and tokens[-1] in ("}", r"\}")


def _first_closes_last(tokens: list[str]) -> bool:
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0:
            return index == len(tokens) - 1
    return False


def strip_group(tokens: list[str]) -> list[str]:
    """Drop braces around everything, and punctuation at the end."""
    while tokens:
        if tokens[-1] in (".", ","):
            tokens = tokens[:-1]
        elif len(tokens) > 1 and tokens[0] == "{" and tokens[-1] == "}" and _first_closes_last(tokens):
            tokens = tokens[1:-1]
        else:
            break
    return tokens


def set_key(keys: list[Key]) -> Key:
    """Return the key of solutions in any order, each counted once; one solution is itself."""
    distinct = sorted(set(keys), key=repr)
    return distinct[0] if len(distinct) == 1 else ("set", *distinct)


def sequence_key(opening: str, closing: str, keys: list[Key]) -> Key:
    """Return the key of a tuple or interval; an infinite end of an interval is open."""
    if len(keys) == 2:
        opening = "(" if keys[0][0] == "infinity" else opening
        closing = ")" if keys[1][0] == "infinity" else closing
    if keys == [("infinity", "-"), ("infinity", "+")]:
        return ("text", "reals")
    return ("seq", opening, closing, *keys)
