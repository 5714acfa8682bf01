r"""Boxed answers: \boxed{5}, \fbox{5}, \boxed 5, and boxes in a row that are one list."""

from __future__ import annotations

import re
from typing import NamedTuple

from timetrial_plugins.grading.statements import Statement

MAX_ANSWER = 2_000
"""Longer answers are no answers."""
MAX_GAP = 60
"""Characters between two boxes of one list."""
MAX_ROW = 32
"""Boxes of one list; those before them repeat what they say, or say too much for an answer."""
MAX_BARE = 100
"""Characters of an answer behind a box command without braces."""

BOX_COMMANDS = {"oxed": "\\boxed", "fbox": "\\fbox"}
"""The commands by their last four letters, by which they are looked for."""
_OPENING = re.compile(r"\s*+\{")
_MOSTLY = re.compile(r"\{((?:[^{}\\]|\\.|\{(?:[^{}\\]|\\.)*+\})*+)\}", re.DOTALL)
"""A box with at most one level of braces inside."""
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BARE = re.compile(
    r"\s*+(?!\\f?box)(?=[-+]?[\d.(\[|\\]|[a-zA-Z](?![a-zA-Z]))"
    r"((?:[^\s{}$\\]|\{[^{}\n]*\}|\\[a-zA-Z]+|\\[^()\[\]a-zA-Z\s])++)(?!\{)"
)
_END_OF_SENTENCE = re.compile(r"[.?!](?:\s|\Z)")
_MARKS = re.compile(r"\\(?:q?quad(?![a-zA-Z])|text|[^a-zA-Z])|[\s$,;{}()\[\]|+*/&~_-]+")
_TALK = re.compile(
    r"(?:[\s${}~\[\]<>]|\\[ ,;:!]|\\(?:text|mathrm|mbox)(?![a-z])|\\[hv]?phantom\{[^{}]*+\}"
    r"|\.\.\.|\\[lc]?dots|\?|(?:(?:your|final)\s+)?answer)*+",
    re.IGNORECASE,
)


class _Box(NamedTuple):
    start: int
    """Where the command starts."""
    content: str
    end: int
    is_closed: bool = True


def read_box(text: str, place: int) -> Statement | None:
    """Return what is boxed by the command whose last four letters stand at `place`, with the boxes in a row with it."""
    box = _box(text, place)
    if box is None or box.is_closed and _is_talk(box.content):
        return None
    if not box.is_closed:
        return Statement(box.content, is_whole=False, is_box=True)
    return Statement(_with_row(text, box), is_box=True)


def _box(text: str, place: int) -> _Box | None:
    command = BOX_COMMANDS[text[place : place + 4]]
    start = place + 4 - len(command)
    if not text.startswith(command, max(0, start)):
        return None
    mostly = _MOSTLY.match(text, place + 4, place + 4 + MAX_ANSWER)
    if mostly is not None:
        return _Box(start, mostly.group(1).strip(), mostly.end())
    opening = _OPENING.match(text, place + 4)
    if opening is None:
        return _bare_box(text, start, place + 4)
    begin = opening.end()
    closing = _closing(text, begin)
    if closing is None:
        return _Box(start, text[begin : begin + MAX_ANSWER].strip(), len(text), is_closed=False)
    return _Box(start, text[begin:closing].strip(), closing + 1)


def _closing(text: str, begin: int) -> int | None:
    """Return the place of the brace that closes the one opened just before `begin`, or None."""
    depth = 1
    for match in _BRACE.finditer(text, begin, begin + MAX_ANSWER + 1):
        brace = match.group()
        if brace == "{":
            depth += 1
        elif brace == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    return None


def _bare_box(text: str, start: int, begin: int) -> _Box | None:
    r"""Read \boxed 5: what follows up to the next space or the end of the formula."""
    bare = _BARE.match(text, begin, begin + MAX_BARE)
    return None if bare is None else _Box(start, bare.group(1).rstrip(".,;:"), bare.end())


def _is_talk(content: str) -> bool:
    r"""Whether nothing is boxed, or only a placeholder, as in "put the answer in \boxed{}"."""
    return _TALK.fullmatch(content) is not None


def _with_row(text: str, last: _Box) -> str:
    """Return the content of a box after that of the boxes in a row with it; repetitions count once."""
    boxes = [last]
    while len(boxes) < MAX_ROW:
        start = boxes[-1].start
        earliest = max(0, start - MAX_ANSWER - MAX_GAP)
        place = max(text.rfind(marker, earliest, start) for marker in BOX_COMMANDS)
        box = _box(text, place) if place >= 0 else None
        if box is None or box.end > start or not _is_row(text[box.end : start]):
            break
        boxes.append(box)
    if len(boxes) == 1:
        return last.content
    return ", ".join(dict.fromkeys(box.content for box in reversed(boxes) if not _is_talk(box.content)))


def _is_row(gap: str) -> bool:
    """Whether two boxes with this text between them are one list: only marks, or few words with "and".

    Boxes with "or" between them are mostly one answer in two spellings, unless a name is set equal to each.
    """
    if len(gap) > MAX_GAP or _END_OF_SENTENCE.search(gap):
        return False
    words = _MARKS.sub(" ", gap.rstrip("\\")).split()  # what is left of \\boxed, its backslash doubled
    return not words or len(words) <= 5 and ("and" in words or "or" in words and "=" in gap)
