"""What a gold answer forgives; the policy these rules carry out is written in `verdict.py`.

A rule takes the gold answer and its key, the answer and its key, and says whether the two are equal by that rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, Inexact
from fractions import Fraction

from timetrial_plugins.grading.key import read
from timetrial_plugins.grading.notation import Unreadable, normalise, tokenize
from timetrial_plugins.grading.quantity import is_constant
from timetrial_plugins.grading.relation import split_label
from timetrial_plugins.grading.structure import Key, set_key, split

Rule = Callable[[str, Key, str, Key], bool]

MIN_SIGNIFICANT_DIGITS = 4
_DECIMAL = re.compile(r"-?(?:\d+)?\.\d+")
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_REAL = re.compile(r"-?\d\.?\d*(?:e[-+]?\d{1,2})?")


def unit(gold: str, gold_key: Key, answer: str, answer_key: Key) -> bool:
    """Equal but for a unit or percent sign that one side does not write."""
    if (gold_key[0] == "unit") == (answer_key[0] == "unit"):
        return False
    bare_gold, bare_answer = (key[1] if key[0] == "unit" else key for key in (gold_key, answer_key))
    if not is_constant(bare_gold):
        return False
    return bare_gold == bare_answer or _rounds(gold, bare_gold, answer, bare_answer)


def percent(gold: str, gold_key: Key, answer: str, answer_key: Key) -> bool:
    """28 % and 0.28."""
    values = [_share(key) for key in (gold_key, answer_key)]
    return values[0] is not None and values[0] == values[1] and gold_key[0] != answer_key[0]


def _share(key: Key) -> Fraction | None:
    if key[0] == "unit" and key[2] == "%" and key[1][0] == "q":
        return Fraction(key[1][1]) / 100
    return Fraction(key[1]) if key[0] == "q" else None


def precision(gold: str, gold_key: Key, answer: str, answer_key: Key) -> bool:
    """A decimal that is the other side rounded, element by element in a tuple."""
    if gold_key[0] == answer_key[0] == "seq" and gold_key[1:3] == answer_key[1:3] and len(gold_key) == len(answer_key):
        texts = [_elements(text) for text in (gold, answer)]
        if len(texts[0]) == len(texts[1]) == len(gold_key) - 3:
            rows = zip(texts[0], gold_key[3:], texts[1], answer_key[3:], strict=True)
            return all(row[1] == row[3] or _rounds(*row) for row in rows)
    return _rounds(gold, gold_key, answer, answer_key)


def _elements(text: str) -> list[str]:
    """Return the elements of a tuple as they are written."""
    try:
        tokens = tokenize(normalise(text))
        return ["".join(part) for part in split(tokens[1:-1], (",", ";"))]
    except Unreadable:
        return []


def _rounds(gold: str, gold_key: Key, answer: str, answer_key: Key) -> bool:
    """Whether one side is written as a decimal and the other is an exact value that rounds to it."""
    for text, key, other in ((answer, answer_key, gold_key), (gold, gold_key, answer_key)):
        if key[0] != "q" or other[0] not in ("q", "n") or "." not in text:
            continue
        written, value = _written_decimal(text), _decimal(other)
        if written is not None and value is not None:
            significant = len(written.as_tuple().digits)
            if significant >= MIN_SIGNIFICANT_DIGITS and _is_endless(other):
                step = Decimal(1).scaleb(int(written.as_tuple().exponent))
                context = Context(prec=60)
                roundings = (ROUND_HALF_EVEN, ROUND_HALF_UP)
                return any(value.quantize(step, rounding, context) == written for rounding in roundings)
    return False


def _written_decimal(text: str) -> Decimal | None:
    """Return the decimal a text shows, with the digits it shows."""
    try:
        plain = "".join(token for token in tokenize(normalise(text)) if token[0] != "'")
    except Unreadable:
        return None
    return Decimal(plain) if _DECIMAL.fullmatch(plain) and len(plain) < 50 else None


def _decimal(key: Key) -> Decimal | None:
    """Return a real value of moderate size to 40 digits."""
    if key[0] == "q":
        fraction = Fraction(key[1])
        if max(abs(fraction.numerator), fraction.denominator) > 10**20:
            return None
        return Context(prec=40).divide(Decimal(fraction.numerator), Decimal(fraction.denominator))
    if key[0] == "n" and _REAL.fullmatch(key[1]):
        value = Decimal(key[1])
        return value if abs(value.adjusted()) < 20 else None
    return None


def _is_endless(key: Key) -> bool:
    """Whether a value has no finite decimal expansion, so that a decimal can only round it."""
    if key[0] == "n":
        return True
    fraction = Fraction(key[1])
    context = Context(prec=40)
    context.divide(Decimal(fraction.numerator), Decimal(fraction.denominator))
    return bool(context.flags[Inexact])


def comma(gold: str, gold_key: Key, answer: str, answer_key: Key) -> bool:
    """A decimal comma, on either side, that the other side writes as a point."""
    gold_point, answer_point = _with_point(gold), _with_point(answer)
    if gold_point is not None:
        return answer_key == gold_point
    return answer_point is not None and gold_key == answer_point


def _with_point(text: str) -> Key | None:
    if "," not in text:
        return None
    plain = text.strip().strip("$").strip()
    return read(plain.replace(",", ".")).key if _DECIMAL_COMMA.fullmatch(plain) else None


def label(gold: str, gold_key: Key, answer: str, answer_key: Key) -> bool:
    """A name and an equals sign that only one side writes."""
    if (gold_key[0] == "eq") != (answer_key[0] == "eq"):
        labelled, bare = (gold, answer_key) if gold_key[0] == "eq" else (answer, gold_key)
        value = _labelled_value(labelled)
        return bare[0] == "expr" and value == bare
    if gold_key[0] == "named" and answer_key[0] != "named":
        return answer_key in (_set_of(gold_key), ("seq", "(", ")", *(_values(gold))))
    if answer_key[0] == "named" and gold_key[0] != "named":
        return gold_key in (_set_of(answer_key), ("seq", "(", ")", *(_values(answer))))
    return False


def _labelled_value(text: str) -> Key | None:
    tokens = tokenize(normalise(text))
    name, value = split_label(tokens)
    return None if name is None else read(" ".join(value)).key


def _set_of(named: Key) -> Key:
    return set_key([key for _, key in named[1:]])


def _values(text: str) -> list[Key]:
    return [read(" ".join(split_label(part)[1])).key for part in split(tokenize(normalise(text)), (",", ";", r"\and"))]


def brackets(gold: str, gold_key: Key, answer: str, answer_key: Key) -> bool:
    """A bare list, or a column vector, for a tuple with the same elements in the same order."""
    if gold_key[0] == "seq" and gold_key[1:3] == ("(", ")") and answer_key[0] == "set":
        return _bare_list(answer) == gold_key[3:]
    for one, other in ((gold_key, answer_key), (answer_key, gold_key)):
        if one[0] == "matrix" and other[0] == "seq" and all(len(row) == 1 for row in one[1:]):
            return tuple(row[0] for row in one[1:]) == other[3:] and other[1:3] == ("(", ")")
    return False


def _bare_list(text: str) -> Key:
    """Return the keys of a list written without brackets, in order."""
    tokens = tokenize(normalise(text))
    while len(tokens) > 1 and tokens[0] == "{" and tokens[-1] == "}":
        tokens = tokens[1:-1]
    return tuple(read(" ".join(part)).key for part in split(tokens, (",", ";")))


RULES: tuple[Rule, ...] = (unit, percent, precision, comma, label, brackets)
