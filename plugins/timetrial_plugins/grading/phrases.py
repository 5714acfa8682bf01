"""Answers that are stated in words: "the final answer is 5", "Answer: 5", "#### 5", "A: 5", <answer>5</answer>."""

from __future__ import annotations

import re

from timetrial_plugins.grading.boxes import MAX_ANSWER
from timetrial_plugins.grading.passages import FORMULA
from timetrial_plugins.grading.statements import Statement

MAX_LINE = 300
"""Characters of a line behind "####"; what is longer is no answer."""

_FINAL = re.compile(
    r"final\s+answers?[ \t]*(?:\([^()\n]{1,40}\)|(?:to|for|of|in)\b[^.:\n$\\]{1,80}?)?[ \t*_#]*"
    r"(?::|\uff1a|=|\n|\r|(?:is|are)\b(?!\s+not\b))[\s:*_#]*(?:(?:therefore|thus|indeed|simply|also|equal to),?\s+)?",
    re.IGNORECASE,
)
_LINE = re.compile(r"answers?[*_]*\s*(?::|\uff1a)[\s*_]*(?:is\b:?\s+)?", re.IGNORECASE)
_SENTENCE_OPENING = re.compile(r"answers?\s+(?:is|are)\b(?!\s+not\b)[\s:*_]*", re.IGNORECASE)
_BEFORE_FINAL = re.compile(r"final\s+\Z", re.IGNORECASE)
_BEFORE_LINE = re.compile(r"(?:\A|[\n\r])[^\na-zA-Z0-9$\\{}]*(?:(?:the|my|our|correct)\s+)*\Z", re.IGNORECASE)
_BEFORE_SENTENCE = re.compile(
    r"(?:(?:\A|[\n\r.?!])[^a-zA-Z0-9]*(?:(?:and\s+)?(?:so|thus|therefore|hence|then),?\s+)?"
    r"|[,;]\s+(?:and\s+)?(?:so|thus|therefore|hence)\s+)(?:(?:the|my|our)\s+(?:correct\s+)?)?\Z",
    re.IGNORECASE,
)
_BEFORE_MARK = re.compile(r"(?:\A|[\n\r?])[ \t>*]*\Z")
_OPTION_B = re.compile(r"\s+\(?B\s?[:.)]")
_SENTENCE = re.compile(
    rf"(?:[^\s.?<$\\]++|{FORMULA.pattern}|(?!\s*I hope it is correct|[.?][\"')*\]]*(?:\s|\Z)|</|<\|)[^\n\r])*+",
    re.DOTALL,
)
_NO_ANSWER = re.compile(
    r"(?:step|first|let|to|we|here|given|since|in\s+order|(?:in)?correct|right|wrong|valid|verified)\b", re.IGNORECASE
)
"""How a solution or a judgement begins."""
_REST_OF_LINE = re.compile(r"[^\n\r]*")
_VALUE_LINE = re.compile(
    r"\s*(?:-?\$?\s?\d[\d.,/]*%?(?:[ \t]+[a-z]+){0,3}|"
    r"(?:\\text\s*\{[^{}]*\}|\\[a-zA-Z]+|\\[^a-zA-Z]|[^a-zA-Z\\]|[a-zA-Z](?![a-zA-Z]))++)\.?\s*"
)
_CURRENCY = re.compile(r"[^$]*(?<!\\)\$\s?\d[\d.,]*(?:[^$\\]|\\[%$])*")
_WORDS = re.compile(r"(?=[^a-z]*+[a-z])[^\d$\\]*+")
_BEGUN_BOX = re.compile(r"\\(?:b(?:o(?:x(?:ed?)?)?)?)?\Z")
_ESCAPED = re.compile(r"\\[\\{}$]")
_MARKUP = ' \t\r\n*_"'


def read_answer(text: str, place: int) -> Statement | None:
    """Return what is stated by the word "answer" that goes on at `place`: "nswer"."""
    if text.endswith(("</a", "<a"), 0, place):
        return _tagged(text, place)
    begin = place - 1
    before = text[max(0, begin - 48) : begin]
    final = _BEFORE_FINAL.search(before)
    match = _FINAL.match(text, begin - len(before) + final.start()) if final else None
    if match is None and _BEFORE_LINE.search(before):
        match = _LINE.match(text, begin)
    if match is None and _BEFORE_SENTENCE.search(before):
        return _value_sentence(text, begin)
    return None if match is None else _sentence(text, match.end())


def _value_sentence(text: str, begin: int) -> Statement | None:
    """Return what "the answer is" states; not "the answer is correct": without a colon, words are no answer."""
    match = _SENTENCE_OPENING.match(text, begin)
    statement = None if match is None else _sentence(text, match.end())
    if match is None or statement is None or ":" not in match.group() and _WORDS.fullmatch(statement.content):
        return None
    return statement


def read_hashes(text: str, place: int) -> Statement | None:
    """Return what stands behind "####", unless that is the heading of a section."""
    if text.startswith("#", place + 4) or text.endswith("#", 0, place):
        return None
    line = _rest_of_line(text, place + 4)
    is_value = len(line) <= MAX_LINE and _VALUE_LINE.fullmatch(line)
    return _statement(line, is_cut=False) if is_value else None


def read_a_line(text: str, place: int) -> Statement | None:
    """Return what stands behind an "A:" that opens a line or answers a question, unless it is one option of several."""
    if not _BEFORE_MARK.search(text, max(0, place - 16), place):
        return None
    line = _rest_of_line(text, place + 2)
    is_option = _OPTION_B.match(text, place + 2 + len(line))
    return None if is_option else _statement(line, is_cut=False)


def _tagged(text: str, place: int) -> Statement | None:
    """Return what stands in <answer>...</answer>."""
    if not text.startswith("nswer>", place):
        return None
    if not text.endswith("</a", 0, place):
        return _statement(text[place + 6 : place + 6 + MAX_ANSWER], is_cut=True)
    opening = text.rfind("<answer>", max(0, place - MAX_ANSWER), place)
    return None if opening < 0 else _statement(text[opening + 8 : place - 3], is_cut=False)


def _rest_of_line(text: str, begin: int) -> str:
    match = _REST_OF_LINE.match(text, begin, begin + MAX_ANSWER)
    assert match is not None, "an empty line matches"
    return match.group()


def _sentence(text: str, begin: int) -> Statement | None:
    """Return the sentence that begins at a place; a full stop inside a formula or a number does not end it."""
    match = _SENTENCE.match(text[begin : begin + MAX_ANSWER])
    assert match is not None, "an empty sentence matches"
    return _statement(match.group(), is_cut=begin + match.end() >= len(text))


def _statement(content: str, *, is_cut: bool) -> Statement | None:
    """Return a statement; None if it says nothing, or begins a box or a solution."""
    content = content.replace('\\"', '"').strip(_MARKUP)
    if is_cut:
        content = _BEGUN_BOX.sub("", content)
    if content.isdecimal():
        return Statement(content)  # as it mostly is
    if not content or "\\boxed" in content or "\\fbox" in content or _NO_ANSWER.match(content):
        return None
    return Statement(content, is_whole=_is_whole(content, is_cut))


def _is_whole(content: str, is_cut: bool) -> bool:
    """Whether every brace and formula is closed; what ends with the text may not be words, or a lone dollar sign."""
    if is_cut and _WORDS.fullmatch(content):
        return False
    plain = _ESCAPED.sub("", content) if "\\" in content else content
    if plain.count("{") != plain.count("}") or plain.count("\\(") > plain.count("\\)"):
        return False
    if plain.count("\\[") > plain.count("\\]"):
        return False
    return plain.count("$") % 2 == 0 or not is_cut and is_currency(content)


def is_currency(content: str) -> bool:
    """Whether the dollar sign of a statement is the currency's: "$18.50 per day"."""
    return _CURRENCY.fullmatch(content) is not None
