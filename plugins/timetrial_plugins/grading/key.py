"""The canonical key of an answer: equal keys, equivalent answers.

Equality of keys is an equivalence relation because a key is a function of the answer alone. It is strict where a
lenient reading would not be transitive: 10, 10 % and 0.1 are three classes, as are 5, 5 cm and 5 m, and a base
subscript counts. What a gold answer may nevertheless forgive is `policy.py`'s business.

    ("q", "1/2")               a rational number, exactly           ("base", "204", "5")  digits in a base
    ("n", "1.41...e+0")        an irrational or complex number      ("text", "east")      words
    ("exact", digits, digest)  a long one, told apart exactly       ("infinity", "-")     an infinity
    ("expr", d1, d2)           a formula with names, by its values
    ("unit", key, "cm^2")      a number with a unit; degrees and dollars are not written out
    ("ratio", key...)          3:4, its later terms over the first  ("mod", key, key)     a number up to a modulus
    ("seq", "(", "]", key...)  a tuple or an interval               ("set", key...)       solutions in any order
    ("union", key...)          disjoint intervals in order          ("matrix", row...)    rows of keys
    ("eq", "x y", value)       an equation, up to a factor          ("rel", "<", value)   an inequality not solved
    ("named", (name, key)...)  values of several names              ("list", key, "...")  a list with dots
    ("cases", row...)          a function given piece by piece      ("choice", "B", key)  a choice with its letter
    ("time", "4:30", "pm")     a time of day                        ("raw", text)         not understood: equal only
                                                                                         to itself
"""

from __future__ import annotations

import hashlib
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from timetrial_plugins.grading import matrix
from timetrial_plugins.grading.calls import called_key, without_eq
from timetrial_plugins.grading.formula import formula_key
from timetrial_plugins.grading.inequality import ORDER, order_key, unequal_key
from timetrial_plugins.grading.lists import SEPARATORS, bracketed_key, list_key
from timetrial_plugins.grading.notation import Unreadable, normalise, tokenize
from timetrial_plugins.grading.quantity import base_key, constant_key, ratio_key, repeating_key, residue_key, unit_key
from timetrial_plugins.grading.relation import RELATIONS, chain, congruence_key, equality_key, is_label
from timetrial_plugins.grading.rendering import from_rendered, render
from timetrial_plugins.grading.sets import difference, intersection, union
from timetrial_plugins.grading.structure import Key, encloses, split, strip_group
from timetrial_plugins.grading.words import choice, is_words, time_key, words_key

MEMO_SIZE = 65_536
MAX_RAW = 200
_PLAIN = re.compile(
    r"(?P<sign>-?)(?:(?P<whole>[1-9]\d{0,2}(?:,\d{3}){1,90}|\d{1,300})(?P<decimals>\.\d{1,300})?"
    r"|\\[dt]?frac\{(?P<over>\d{1,100})\}\{(?P<under>0*[1-9]\d{0,100})\}|(?P<top>\d{1,100})/(?P<bottom>0*[1-9]\d{0,100}))",
    re.ASCII,
)
_SETS = frozenset((r"\cup", r"\cap", r"\setminus"))
_STRUCTURE = SEPARATORS | RELATIONS | _SETS | {"(", "[", r"\{", "{", r"\begin", r"\}", ")", "]"}
_SPECIAL = frozenset((":", "_", "%", r"\deg", r"\pmod", r"\mod", r"\infty", r"\emptyset", r"\mathbb", "..."))
_WORDS_OR_RATE = re.compile(r"'|(?<![\\a-zA-Z])[a-zA-Z]{2}|\d [a-zA-Z]+ /")
_HEDGES = frozenset(("about", "approximately", "roughly", "around", "exactly", "approx"))
_CONDITIONS = frozenset(("if", "for", "when", "where", "otherwise", "else"))


class Reading(NamedTuple):
    """What was understood of an answer."""

    key: Key
    problem: str | None
    """Why the answer, or a part of it, was not understood; None if all of it was."""


@lru_cache(maxsize=MEMO_SIZE)
def read(answer: str) -> Reading:
    """Return the canonical key of an answer; never fails and never takes long."""
    number = _PLAIN.fullmatch(answer)
    if number is not None:
        return Reading(_plain_key(number), None)
    try:
        if answer.startswith('["'):
            key = from_rendered(answer)  # a canonical key is its own key
        else:
            key = _key(tokenize(normalise(answer)))
        return Reading(key, None)
    except Unreadable as error:
        return Reading(("raw", _shortened(_as_written(answer))), str(error))


def key(answer: str) -> Key:
    """Return the canonical key of an answer, a tagged tuple: equal keys, equivalent answers."""
    return read(answer).key


@lru_cache(maxsize=MEMO_SIZE)
def answer_class(answer: str) -> str:
    """Return the canonical key of an answer as text: equal texts, equivalent answers."""
    return render(read(answer).key)


def _plain_key(number: re.Match[str]) -> Key:
    """Return the key of a number written without anything to interpret."""
    sign, whole, decimals, over, under, top, bottom = number.groups()
    if whole is None:
        return ("q", str(Fraction(int(sign + (over or top)), int(under or bottom))))
    digits = whole.replace(",", "")
    if decimals is not None:
        return ("q", str(Fraction(f"{sign}{digits}{decimals}")))
    digits = digits.lstrip("0")
    return ("q", sign + digits if digits else "0")


def _as_written(answer: str) -> str:
    """Return an answer that is not understood in one spelling, as far as even that can be told."""
    try:
        tokens = strip_group(tokenize(normalise(answer)))
    except Unreadable:
        tokens = []
    return " ".join(tokens) or "".join(answer.split())


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
    tokens = without_eq(strip_group(tokens))
    if tokens and tokens[0].lstrip("'").lower() in _HEDGES:
        tokens = tokens[1:]
    if not tokens:
        raise Unreadable("empty")
    lettered = choice(tokens)
    if lettered is not None:
        return ("choice", lettered[0], _key(lettered[1]))
    if is_words(tokens):
        return words_key(tokens)
    if not _STRUCTURE.isdisjoint(tokens):
        structured = called_key(tokens, _key) or _structured_key(tokens)
        if structured is not None:
            return structured
    return _single_key(tokens)


def _structured_key(tokens: list[str]) -> Key | None:
    """Return the key of a list, a relation, a combination of sets, brackets or a matrix; None if it is none of them."""
    if not SEPARATORS.isdisjoint(tokens):
        listed = list_key(tokens, _key)
        if listed is not None:
            return listed
    if not RELATIONS.isdisjoint(tokens):
        parts, operators = chain(tokens)
        if operators:
            return _relation_key(parts, operators)
    if not _SETS.isdisjoint(tokens):
        return _combined_key(tokens)
    if encloses(tokens):
        return bracketed_key(tokens, _key)
    if r"\begin" in tokens:
        return _environment_key(tokens)
    return None


def _relation_key(parts: list[list[str]], operators: list[str]) -> Key:
    kinds = set(operators)
    if kinds <= {"=", r"\approx"}:
        return equality_key(parts, operators, _key)
    if kinds <= ORDER:
        return order_key(parts, operators)
    if operators == [r"\in"]:
        if not is_label(parts[0]):
            raise Unreadable("membership of more than a name")
        return _key(parts[1])
    if operators == ["!="]:
        return unequal_key(*parts)
    if operators == [r"\equiv"]:
        return congruence_key(parts, _key)
    if operators[0] == "=" and kinds - {"="} <= ORDER and is_label(parts[0]):
        return _relation_key(parts[1:], operators[1:])
    raise Unreadable("a mixture of relations")


def _combined_key(tokens: list[str]) -> Key:
    """Return the key of unions, intersections and differences, from left to right."""
    for sign, combine in ((r"\cup", union), (r"\setminus", None), (r"\cap", intersection)):
        parts = split(tokens, (sign,))
        if len(parts) == 1:
            continue
        keys = [_key(part) for part in parts]
        combined = combine(keys) if combine is not None else difference(keys[0], ("set", *keys[1:]))
        if combined is not None:
            return combined
        if sign == r"\cup":
            distinct = sorted(set(keys), key=repr)
            return ("union", *distinct) if len(distinct) > 1 else distinct[0]
        raise Unreadable("sets that are not understood")
    raise Unreadable("sets inside brackets")


def _environment_key(tokens: list[str]) -> Key:
    """Return the key of a matrix, of what is computed with matrices, or of cases."""
    rows = matrix.rows_of(tokens, "cases")
    if rows is None:
        return matrix.matrix_key(tokens, _key)
    if all(len(row) == 1 for row in rows):
        return _key([token for row in rows for token in (*row[0], ",")])
    return ("cases", *(_case(row) for row in rows))


def _case(row: list[list[str]]) -> tuple[Key, ...]:
    """Return the keys of a formula and its condition."""
    cells = [[token for token in cell if token.strip("',. ").lower() not in _CONDITIONS] for cell in row]
    return tuple(_key(cell) for cell in cells if cell)


def _single_key(tokens: list[str]) -> Key:
    """Return the key of what is neither a list nor bracketed: a constant, a number in a base or with a unit, ..."""
    if _SPECIAL.isdisjoint(tokens) and _WORDS_OR_RATE.search(" ".join(tokens)) is None:
        return formula_key(tokens)
    for reader in (constant_key, repeating_key, time_key, ratio_key, base_key, residue_key, unit_key):
        found = reader(tokens)
        if found is not None:
            return found
    try:
        return formula_key(tokens)
    except Unreadable:
        has_words = any(len(token) > 2 and (token[0] == "'" or token.isalpha()) for token in tokens)
        if has_words and not any(token[0] in "\\^+=*_&[{" for token in tokens):
            return words_key(tokens)
        raise
