"""Keys of answers in words: plain text, a choice with its letter, the time of day."""

from __future__ import annotations

import re

from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.structure import Key

LETTERS = frozenset("ABCDEFGHIJ")
"""Of multiple choice."""
_PLAIN = re.compile(r"[A-Za-z]+|'.*|[-.,:()!?]", re.DOTALL)
_PRODUCT = re.compile(r"[xyz]{2,3}")
_NOTHING = frozenset(
    ("no solution", "no solutions", "no real solution", "no real solutions", "empty set", "the empty set")
)
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_REALS = frozenset(
    ("all real numbers", "all reals", "the real numbers", "the set of all real numbers", "any real number")
)
_TIME = re.compile(r"(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?(?P<half>[ap]\.?m\.?)?")
_OPERATORS = frozenset("(^*/+-=,")


def is_words(tokens: list[str]) -> bool:
    """Whether the tokens are words only: letters beyond a single one, and no digit or sign of mathematics."""
    first = tokens[0]
    if not (first[0].isalpha() or first[0] in "'-.:(!?") or len(tokens) == 1 and _PRODUCT.fullmatch(first):
        return False
    plain = all(_PLAIN.fullmatch(token) for token in tokens)
    has_word = any(len(token) > (3 if "-" in tokens else 1) for token in tokens)  # x-axis is words, ad - bc is not
    return plain and has_word and "," not in tokens and not (first in ("-", "(") and len(tokens) < 3)


def words_key(tokens: list[str]) -> Key:
    """Return the key of plain words: case, brackets and punctuation do not count, short names keep their case."""
    words = " ".join(token.lstrip("'") for token in tokens)
    words = " ".join(re.sub(r"[().,!?\"']", " ", words).split()).replace(" : ", ":")
    folded = words.casefold()
    if folded in _NOTHING:
        return ("set",)
    if folded in _REALS:
        return ("text", "reals")
    if not words:
        raise Unreadable("empty")
    if folded in _NUMBERS:
        return ("q", str(_NUMBERS.index(folded)))
    return ("text", folded if len(words) > 2 or folded == "no" else words)


def choice(tokens: list[str]) -> tuple[str, list[str]] | None:
    """Split "(B) 5" or "B) 5" into the letter and what it stands for; None if it is no choice."""
    if tokens[0] == "(" and tokens[2:3] == [")"]:
        letter, content = tokens[1], tokens[3:]
    elif tokens[1:2] == [")"]:
        letter, content = tokens[0], tokens[2:]
    else:
        return None
    return (letter, content) if letter in LETTERS and content and content[0] not in _OPERATORS else None


def time_key(tokens: list[str]) -> Key | None:
    """Return the key of a time of day on the twelve-hour clock (20:34, 8:34 p.m., 5 pm); None if it is none."""
    match = _TIME.fullmatch("".join(token.lstrip("'") for token in tokens).lower().replace(" ", ""))
    if match is None or match["minute"] is None and match["half"] is None:
        return None
    hour, half = int(match["hour"]), (match["half"] or "").replace(".", "")
    if hour > 23:
        return None
    if hour == 0:
        hour, half = 12, "am"
    if hour > 12:
        hour, half = hour - 12, "pm"
    seconds = "" if match["second"] in (None, "00") else f":{match['second']}"
    return ("time", f"{hour}:{match['minute'] or '00'}{seconds}", half)
