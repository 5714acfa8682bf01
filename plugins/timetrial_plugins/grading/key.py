"""The canonical key of an answer: equal keys, equivalent answers.

Equality of keys is an equivalence relation because a key is a function of the answer alone. It is strict where a
lenient reading would not be transitive: 10, 10 % and 0.1 are three classes, as are 5, 5 cm and 5 m, and a base
subscript counts. What a gold answer may nevertheless forgive is `verdict.py`'s business.

    ("q", "1/2")               a rational number, exactly           ("base", "204", "5")  digits in a base
    ("n", "1.41...e+0")        an irrational or complex number      ("text", "east")      words
    ("expr", d1, d2)           a formula with names, by its values  ("infinity", "-")     an infinity
    ("unit", key, "cm^2")      a number with a unit; degrees and dollars are not written out
    ("seq", "(", "]", key...)  a tuple or an interval               ("set", key...)       solutions in any order
    ("union", key...)          intervals joined                     ("matrix", row...)    rows of keys
    ("eq", digest)             an equation, up to a factor          ("rel", "<", digest)  an inequality
    ("named", (name, key)...)  values of several names              ("symbolic", form)    an exact sympy form
    ("raw", text)              not understood: equal only to itself
"""

from __future__ import annotations

import hashlib
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from timetrial_plugins.grading.formula import formula_key
from timetrial_plugins.grading.notation import Unreadable, normalise, tokenize
from timetrial_plugins.grading.quantity import base_key, constant_key, unit_key
from timetrial_plugins.grading.relation import RELATIONS, relation_key, split_label
from timetrial_plugins.grading.structure import (
    Key,
    encloses,
    from_rendered,
    is_words,
    render,
    sequence_key,
    set_key,
    split,
    strip_group,
    union_key,
    words_key,
)

MEMO_SIZE = 65_536
MAX_RAW = 200
_NUMBER = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?")
_MATRICES = frozenset(("pmatrix", "bmatrix", "matrix", "array", "smallmatrix", "Bmatrix"))
_SEPARATORS = ((";",), (r"\and", r"\or"), (",",))


class Reading(NamedTuple):
    """What was understood of an answer."""

    key: Key
    text: str
    """The key as text."""
    problem: str | None
    """Why the answer, or a part of it, was not understood; None if all of it was."""


@lru_cache(maxsize=MEMO_SIZE)
def read(answer: str) -> Reading:
    """Return the canonical key of an answer; never fails and never takes long."""
    if _NUMBER.fullmatch(answer) and answer.isascii():
        return _reading(("q", str(Fraction(answer))))
    try:
        if answer.startswith('["'):
            return _reading(from_rendered(answer))  # a canonical key is its own key
        return _reading(_key(tokenize(normalise(answer))))
    except Unreadable as error:
        return _reading(("raw", _shortened("".join(answer.split()))), str(error))


def _reading(key: Key, problem: str | None = None) -> Reading:
    return Reading(key, render(key), problem)


def _shortened(text: str) -> str:
    """Return a text that is not understood; of a long one the beginning and a digest."""
    if len(text) <= MAX_RAW:
        return text
    return f"{text[:MAX_RAW]}... {hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


def _key(tokens: list[str]) -> Key:
    """Return the key of some tokens.

    Raises:
        Unreadable: they are not understood.
    """
    tokens = strip_group(tokens)
    if not tokens:
        raise Unreadable("empty")
    if is_words(tokens):
        return words_key(tokens)
    for separators in _SEPARATORS:
        parts = split(tokens, separators)
        if len(parts) > 1:
            return _list_key([part for part in parts if part])
    if any(token in RELATIONS for token in tokens):
        return relation_key(tokens, _key)
    parts = split(tokens, (r"\cup",))
    if len(parts) > 1:
        return union_key([_key(part) for part in parts])
    if encloses(tokens):
        return _bracketed_key(tokens)
    if tokens[0] == r"\begin":
        return _matrix_key(tokens)
    return _single_key(tokens)


def _single_key(tokens: list[str]) -> Key:
    """Return the key of what is neither a list nor bracketed: a constant, a number in a base or with a unit, ..."""
    for reader in (constant_key, base_key, unit_key):
        key = reader(tokens)
        if key is not None:
            return key
    try:
        return formula_key(tokens)
    except Unreadable:
        has_words = any(token[0] == "'" or token.isalpha() and len(token) > 2 for token in tokens)
        if tokens[0].isdigit() and ":" in tokens or has_words and not any(token[0] in "\\^+=*_&" for token in tokens):
            return words_key(tokens)
        raise


def _list_key(parts: list[list[str]]) -> Key:
    """Return the key of a list: a set, or named values if it gives values to several names."""
    labelled = [split_label(part) for part in parts]
    names = [name for name, _ in labelled if name is not None]
    keys = [_key(value) for _, value in labelled]
    if len(names) == len(parts) and len(set(names)) > 1:
        pairs = sorted({(name, key) for name, key in zip(names, keys, strict=True)}, key=lambda pair: pair[0])
        return ("named", *pairs)
    if all(key[0] == "seq" and r"<" in render(key) for key in keys):
        return union_key(keys)
    return set_key(keys)


def _bracketed_key(tokens: list[str]) -> Key:
    opening, inner, closing = tokens[0], tokens[1:-1], tokens[-1]
    parts = split(inner, (",", ";")) if inner else []
    if opening == r"\{":
        if "|" in inner or ":" in inner:
            raise Unreadable("a set given by a condition")
        return set_key([_key(part) for part in parts]) if parts else ("set",)
    if not parts:
        raise Unreadable("empty brackets")
    if len(parts) == 1 and opening + closing in ("()", "[]"):
        return _key(inner)
    return sequence_key(opening, closing, [_key(part) for part in parts])


def _matrix_key(tokens: list[str]) -> Key:
    name = tokens[2] if len(tokens) > 6 else ""
    if name not in _MATRICES or tokens[-4] != r"\end" or tokens.count(r"\begin") != 1:
        raise Unreadable("something that is no single matrix")
    body = tokens[4:-4]
    if name == "array" and body[:1] == ["{"]:
        body = body[body.index("}") + 1 :]
    rows = [row for row in split(body, ("\\\\",)) if row]
    return ("matrix", *(tuple(_key(cell) for cell in split(row, ("&",))) for row in rows))
