"""Find the answer in a completion, by looking at strings only.

A text that was cut before its answer gives None; no stray number is ever taken for an answer. The styles:

    math      last complete \\boxed{} or \\fbox{} (boxes joined by "and" or a comma count as one list),
              else what follows the last "final answer is"
    gsm8k     the number after the last "final answer is", else after "####", else after a line's "A:", else the box
    nutshell  the integer after the last "The final answer is"
    loose     as math, else the last formula between dollars or brackets, else the text itself if it is one short line
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_TAIL = 16_384
"""Characters at the end of a text in which an answer is looked for."""
MAX_ANSWER = 2_000
"""Longer answers are no answers."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_JOINT_MARKUP = re.compile(r"\\(?:q?quad|text|[,;: ()\[\]])|[\s$,;{}]+")
_FINAL = re.compile(r"final answer is", re.IGNORECASE)
_END_OF_FINAL = re.compile(r"\.?\s*I hope it is correct|\n|<\||\.\s+(?=[A-Z])|\.\s*$")
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|\$(.+?)\$", re.DOTALL)
_NUMBER = re.compile(r"[-\u2212]?\s*\$?\s*(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+)?")
_INTEGER = re.compile(r"The final answer is:?\s*(-?\d+)(?![\d.,]*\d)")
_A_LINE = re.compile(r"^\s*A:", re.MULTILINE)


def extract_answer(text: str, style: str = "math") -> str | None:
    """Return the answer a completion gives, or None if it gives none.

    Raises:
        ValueError: there is no such style.
    """
    if style not in _STYLES:
        raise ValueError(f"unknown extraction style {style!r}: known: {', '.join(sorted(_STYLES))}")
    visible = _without_thinking(text)
    if visible is None:
        return None
    answer = _STYLES[style](visible[-MAX_TAIL:])
    if answer is None:
        return None
    answer = answer.strip()
    return answer if 0 < len(answer) <= MAX_ANSWER else None


def _without_thinking(text: str) -> str | None:
    """Drop a reasoning block; None if the block was never closed, since then no answer was given yet."""
    end = text.rfind("</think>")
    if end >= 0:
        return text[end + len("</think>") :]
    return None if "<think>" in text else text


def _math(text: str) -> str | None:
    boxed = _boxed(text)
    return boxed if boxed is not None else _after_final(text)


def _boxed(text: str) -> str | None:
    """Return the content of the last complete box, joined with the complete boxes that form a list with it."""
    boxes = [(match.start(), match.end(), _closing(text, match.end())) for match in _BOX.finditer(text)]
    complete = [(start, begin, end) for start, begin, end in boxes if end is not None]
    if not complete:
        return None
    start, begin, end = complete.pop()
    contents = [text[begin:end]]
    while complete:
        earlier_start, begin, end = complete.pop()
        gap = text[end + 1 : start] if end < start else None
        if gap is None or not _joins(gap):
            break
        contents.insert(0, text[begin:end])
        start = earlier_start
    return ", ".join(dict.fromkeys(content.strip() for content in contents))


def _joins(gap: str) -> bool:
    """Whether two boxes with this text between them are one list: nothing or a comma, or "and" and few words."""
    if len(gap) > 60:
        return False
    words = _JOINT_MARKUP.sub(" ", gap).split()
    return not words or len(words) <= 5 and bool({"and", "or"} & set(words))


def _closing(text: str, begin: int) -> int | None:
    """Return the index of the brace that closes the one opened just before `begin`, or None."""
    depth = 1
    position = begin
    limit = min(len(text), begin + MAX_ANSWER)
    while position < limit:
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return None


def _after_final(text: str) -> str | None:
    """Return what follows the last "final answer is", up to the end of the sentence."""
    ends = [match.end() for match in _FINAL.finditer(text)]
    if not ends:
        return None
    rest = text[ends[-1] :].lstrip(" :*\n")
    end = _END_OF_FINAL.search(rest)
    answer = (rest[: end.start()] if end else rest).strip().strip("*").strip()
    formula = _FORMULA.fullmatch(answer)
    if formula:
        answer = next(group for group in formula.groups() if group is not None)
    # An open brace or dollar means that the text was cut inside the answer.
    is_cut = answer.count("{") != answer.count("}") or answer.replace("\\$", "").count("$") % 2 == 1 and "{" in answer
    return None if is_cut or "\\boxed" in answer else answer


def _gsm8k(text: str) -> str | None:
    for found in (_after_final(text), _after_last("####", text), _after_a_line(text), _boxed(text)):
        if found and found.strip():
            return _first_number(found)
    return None


def _after_last(marker: str, text: str) -> str | None:
    position = text.rfind(marker)
    return None if position < 0 else text[position + len(marker) :].strip().partition("\n")[0]


def _after_a_line(text: str) -> str | None:
    ends = [match.end() for match in _A_LINE.finditer(text)]
    return text[ends[-1] :].strip().partition("\n")[0] if ends else None


def _first_number(text: str) -> str:
    """Return the number of a short phrase such as "$18 per day"; of "3 * 6 = 18" the last part counts."""
    phrase = text.rpartition("=")[2].strip().strip("[]")
    match = _NUMBER.search(phrase)
    if match is None:
        return phrase
    return match.group().replace(" ", "").replace("$", "").replace("\u2212", "-").rstrip(",")


def _nutshell(text: str) -> str | None:
    matches = _INTEGER.findall(text)
    return matches[-1] if matches else None


def _loose(text: str) -> str | None:
    answer = _math(text)
    if answer is not None:
        return answer
    formulas = _FORMULA.findall(text)
    if formulas:
        joined = _joined_formulas(text)
        return joined if joined is not None else next(group for group in formulas[-1] if group)
    is_one_line = "\n" not in text.strip() and len(text) <= MAX_ANSWER
    return text if is_one_line else None


def _joined_formulas(text: str) -> str | None:
    """Return all of a text that is nothing but formulas and "and", "or" or commas between them."""
    remainder = _FORMULA.sub(" ", text)
    if re.fullmatch(r"(?:\s|,|;|\.|\band\b|\bor\b|%|\bpercent\b|\bpct\b|\b[a-z]+\b$)*", remainder.strip()):
        return text.strip()
    return None


_STYLES: dict[str, Callable[[str], str | None]] = {
    "math": _math,
    "gsm8k": _gsm8k,
    "nutshell": _nutshell,
    "loose": _loose,
}
