"""Find formulas and numbers in passages of text: in a sentence that states an answer, or at the end of a free text."""

from __future__ import annotations

import re

FORMULA = re.compile(
    r"(?<!\\)(?:\$\$(?:[^$\\]|\\.)++\$\$|\$(?:[^$\n\r\\]|\\.)++\$"
    r"|\\\[(?:[^\\]|\\[^\[\]])++\\\]|\\\((?:[^\\\n\r]|\\[^()])++\\\))",
    re.DOTALL,
)
"""A formula between delimiters; one inside a line ends on it. (No groups: within possessive repeats, re loses them.)"""
MAX_WORDS = 4
"""Words of a sentence that may still be an answer: "no solution", "5 cubic feet per second"."""

_NUMBER = re.compile(
    r"(?<![\w.,\\])[-+\u2212]?[$\u20ac\u00a3]?(?:\d{1,3}(?:[ ,]\d{3})+(?![\d,])(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
    r"(?: ?/ ?\d+)?(?: ?\\?%)?"
)
_LEADING_NUMBER = re.compile(r"[-+\u2212]?\s?\\?[$\u20ac\u00a3]?\s?\.?\d")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")
_JOINT = re.compile(r"(?:[\s,;.%]|\\%|\b(?:and|or|percent|pct)\b)*")
_UNIT = re.compile(r"\s*[a-z]++(?:/[a-z]++)?(?:\s+[a-z]++(?:/[a-z]++)?){0,2}\s*")
_CLAUSE = re.compile(r",?\s+(?:because|since|which|when)\b|,\s+(?:as|so|for|where|and\s+so)\b|\s+\([a-z]{3,}[ ),]")
_SENTENCE_BREAK = re.compile(r"[.?!](?:\$\$?|\\[)\]])?\s|[\n\r]")


def formula_of(content: str) -> str:
    """Return a formula without its delimiters; any other text as it is."""
    if FORMULA.fullmatch(content) is None:
        return content
    width = 1 if content[1] != "$" and content[0] == "$" else 2
    return content[width:-width].strip()


def value_of(sentence: str) -> str | None:
    """Return the answer in a sentence behind "the final answer is", or None if it is only prose.

    "The largest n is 34" says 34, "72, which is the total" says 72, "12 pairs that meet all the conditions" says 12.
    """
    if FORMULA.fullmatch(sentence):
        return formula_of(sentence)
    sentence = _CLAUSE.split(sentence, maxsplit=1)[0].lstrip(" *_:;,").rstrip(" *_.:;,")
    value = _behind_verb(sentence)
    if value is not None and num_words(value) <= MAX_WORDS:
        return value
    if num_words(sentence) <= MAX_WORDS:
        return formula_of(sentence) or None
    leading = _NUMBER.search(sentence) if _LEADING_NUMBER.match(sentence) else None
    if leading is not None:
        return leading.group()
    return last_formulas(sentence)


def _behind_verb(sentence: str) -> str | None:
    """Return the number or formula behind the last "is" of a sentence."""
    for verb in (" is ", " are ", " equals ", " be "):
        _, found, rest = sentence.rpartition(verb)
        if found and (FORMULA.match(rest) or _LEADING_NUMBER.match(rest)):
            return formula_of(rest.strip())
    return None


def num_words(text: str) -> int:
    """Return the number of words outside formulas; "and" and "or" are none."""
    words = _WORD.findall(FORMULA.sub(" ", text))
    return sum(word not in ("and", "or") for word in words)


def last_formulas(text: str) -> str | None:
    """Return the last formula of a text, or the whole text if it is nothing but formulas and what joins them."""
    formulas = list(FORMULA.finditer(text))
    if not formulas:
        return None
    has_unit = not text[: formulas[0].start()].strip() and _UNIT.fullmatch(text, formulas[0].end())
    if has_unit or _JOINT.fullmatch(FORMULA.sub(" ", text)):
        return formula_of(text.strip())
    return formula_of(formulas[-1].group())


def last_number(text: str) -> str | None:
    """Return the last number of a text, as it is written."""
    numbers = [match.group() for match in _NUMBER.finditer(text)]
    return numbers[-1] if numbers else None


def last_value(text: str) -> str | None:
    """Return the last formula of a text, or its last number if that stands in a later sentence."""
    formulas = list(FORMULA.finditer(text))
    end = formulas[-1].end() if formulas else 0
    later = _SENTENCE_BREAK.search(text, end - 3) if formulas else None
    if formulas and (later is None or last_number(text[later.end() :]) is None):
        return last_formulas(text)
    return last_number(text[later.end() :] if later else text)


def as_a_whole(text: str) -> str | None:
    """Return a text without formulas that is an answer by itself: one line with few words, or with words only."""
    stripped = text.strip()
    if "\n" in stripped or "\r" in stripped or FORMULA.search(stripped):
        return None
    is_answer = num_words(stripped) <= MAX_WORDS or not any(character.isdigit() for character in stripped)
    return stripped if is_answer else None
