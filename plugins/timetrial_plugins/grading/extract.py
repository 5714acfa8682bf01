"""Find the answer in a completion, by looking at strings only, in time linear in the text.

The last place where a text states its answer counts. Places are: a box that is closed and not empty; boxes in a row,
which are one list; "the final answer is ..."; a sentence or line "The answer is ...", "Answer: ..."; "#### ..." unless
it is a heading; a line "A: ..."; <answer>...</answer>. A style says what is done with it.

    style      the answer                                                  if nothing is stated
    math       the box, or the formula, number or few words stated         None
    gsm8k      the number stated                                           None
    nutshell   the integer after the last "The final answer is"            None
    latex      as math                                                     the last formula
    expr       as math, but no LaTeX                                       the last number
    loose      as math, or the number of a sentence that states one        a short text itself, else its last formula,
                                                                           or its last number if that comes later

So loose and expr are the only styles that ever take a last number. In math, gsm8k and nutshell a text that was cut
before its answer gives None, and no stray number. A statement that was cut (a box or formula never closed, words that
end with the text) gives None too, unless it begins like the statement before it: then the text was repeating itself,
and that statement counts.

The text is one completion, without its prompt. What is thought (<think>), and what follows the end of the turn, is not
looked at. Of a long text the last characters are read.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

from timetrial_plugins.grading.boxes import BOX_COMMANDS, MAX_ANSWER, read_box
from timetrial_plugins.grading.passages import (
    MAX_WORDS,
    as_a_whole,
    last_formulas,
    last_number,
    last_value,
    num_words,
    value_of,
)
from timetrial_plugins.grading.phrases import is_currency, read_a_line, read_answer, read_hashes
from timetrial_plugins.grading.statements import Reader, Statement, last_content, statements
from timetrial_plugins.grading.turns import spoken

MAX_TAIL = 16_384
"""Characters at the end of a text in which an answer is looked for."""

_READERS: dict[str, Reader] = {
    **dict.fromkeys(BOX_COMMANDS, read_box),
    "nswer": read_answer,
    "NSWER": read_answer,
    "####": read_hashes,
    "A:": read_a_line,
}
_CONTROLS = {"\a": r"\a", "\b": r"\b", "\v": r"\v", "\f": r"\f", "\t": r"\t", "\r": r"\r"}
_MISREAD = re.compile(
    r"[\a\x08\v\f](?=[a-zA-Z])|\t(?=(?:ext(?:bf|it|rm)?|frac)\s*\{|imes(?![a-z])|heta(?![a-z]))|\r(?=ight\W)"
)
_PLAIN_NUMBER = re.compile(r"[-\u2212]?\s?\$?\s?(\d+(?:,\d{2,3}(?!\d))*(?:\.\d+)?(?:\s*/\s*\d+|\s+\d+/\d+)?|\.\d+)")
_SCALE = re.compile(r"\s+(?:hundred|thousand|million|billion|trillion|dozen)\b")
_SEPARATORS = re.compile(r"\{,\}|\\[,!]|(?<=\d),\s?\\!")
_ARITHMETIC = re.compile(r"\d\s*[+*\u00d7^]\s*[\d(]|\d\s+-\s+[\d(]|\\(?:[dt]?frac|sqrt|times|cdot|div)")
_WITH_NAMES = re.compile(r"\d\s*[+*\u00d7^]\s*[a-zA-Z]")
_INTEGER = re.compile(r"The final answer is:?\s*(-?\d++)(?![\d.,]*\d)")


def extract_answer(text: str, style: str = "math") -> str | None:
    """Return the answer a completion gives, or None if it gives none.

    Raises:
        ValueError: there is no such style.
    """
    if style not in _STYLES:
        raise ValueError(f"unknown extraction style {style!r}: known: {', '.join(sorted(_STYLES))}")
    answer = _STYLES[style](_repaired(spoken(text)[-MAX_TAIL:]))
    if answer is None:
        return None
    answer = answer.strip()
    return answer if 0 < len(answer) <= MAX_ANSWER else None


def _repaired(text: str) -> str:
    r"""Write commands whose backslash was read as an escape, as in a form feed and "rac", as they were meant."""
    if any(map(text.__contains__, "\a\b\v\f\t")):
        return _MISREAD.sub(lambda match: _CONTROLS[match.group()], text)
    return text


def _math(text: str) -> str | None:
    return last_content(_values(text))


def _values(text: str, value_in: Callable[[str], str | None] = value_of) -> Iterator[Statement]:
    """Yield the statements that say an answer, each with the answer only: of a sentence, its value."""
    for statement in statements(text, _READERS):
        if statement.is_box or not statement.is_whole:
            yield statement
        elif value := value_in(statement.content):
            yield Statement(value)


def _gsm8k(text: str) -> str | None:
    return last_content(_numbers(text))


def _numbers(text: str) -> Iterator[Statement]:
    """Yield the statements that say a number, each with the number only; a dollar sign is the currency's."""
    for statement in statements(text, _READERS):
        if not statement.is_whole and not is_currency(statement.content):
            yield statement
        elif number := _number(statement.content):
            yield Statement(number)


def _number(content: str) -> str | None:
    """Return the number of a short phrase such as "$18 per day"; of "3 * 6 = 18" the last part counts."""
    if content.isdecimal():
        return content
    phrase = content.rpartition("=")[2]
    if "\\" in phrase or "{" in phrase:
        phrase = _SEPARATORS.sub("", phrase).replace("\\$", "")
    match = _PLAIN_NUMBER.search(phrase)
    if match is None or match.start() > 2 and num_words(phrase) > MAX_WORDS or _WITH_NAMES.search(phrase):
        return None
    if _ARITHMETIC.search(phrase):
        return phrase.replace("$", "").strip(" *[].")
    sign = "-" if match.group()[0] in "-\u2212" else ""
    scale = _SCALE.match(phrase, match.end())
    return sign + match.group(1).replace(",", "") + (scale.group() if scale is not None else "")


def _nutshell(text: str) -> str | None:
    matches = _INTEGER.findall(text)
    return matches[-1] if matches else None


def _latex(text: str) -> str | None:
    return last_content(_values(text)) or last_formulas(text)


def _expr(text: str) -> str | None:
    stated = (statement for statement in _values(text) if not statement.is_whole or "\\" not in statement.content)
    return last_content(stated) or last_number(text)


def _loose(text: str) -> str | None:
    found = list(itertools.islice(_values(text, lambda sentence: value_of(sentence) or last_value(sentence)), 2))
    return last_content(found) if found else as_a_whole(text) or last_value(text)


_STYLES: dict[str, Callable[[str], str | None]] = {
    "math": _math,
    "gsm8k": _gsm8k,
    "nutshell": _nutshell,
    "latex": _latex,
    "expr": _expr,
    "loose": _loose,
}
