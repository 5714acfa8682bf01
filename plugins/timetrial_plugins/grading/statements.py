"""Statements: the places where a text says what its answer is, read from the end of the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

MAX_MARKS = 256
"""Places looked at, from the end; where so many state nothing, the text is a loop."""


class Statement(NamedTuple):
    """What a text says its answer is, at one place."""

    content: str
    is_whole: bool = True
    """False if the text, or the formula it stands in, ends before the statement does."""
    is_box: bool = False
    """Whether it is a box, so that the content is a formula and no sentence."""


Reader = Callable[[str, int], Statement | None]
"""Reads the statement whose marker stands at a place of a text; None if that is no statement."""


def statements(text: str, readers: Mapping[str, Reader]) -> Iterator[Statement]:
    """Yield the statements of a text, the last one first; `readers` has the reader of each marker."""
    for place, marker in islice(_marks(text, tuple(readers)), MAX_MARKS):
        statement = readers[marker](text, place)
        if statement is not None:
            yield statement


def _marks(text: str, markers: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield the places of markers, the last one first, in time linear in the text."""
    place, last = -1, ""
    for marker in markers:
        # Mostly an answer stands at the very end: only what is behind the last marker yet found has to be searched.
        found = text.rfind(marker, place + 1)
        if found >= 0:
            place, last = found, marker
    if place < 0:
        return
    yield place, last
    places = {marker: text.rfind(marker, 0, place) for marker in markers}
    while (place := max(places.values())) >= 0:
        marker = next(marker for marker, found in places.items() if found == place)
        yield place, marker
        places[marker] = text.rfind(marker, 0, place)


def last_content(found: Iterable[Statement]) -> str | None:
    """Return what the last statement says; `found` has the last one first.

    A statement that was cut says nothing, with one exception: weak models repeat themselves until they are stopped,
    and a cut statement that begins like the whole one before it is taken for its repetition.
    """
    last: Statement | None = None
    for statement in found:
        if last is None and statement.is_whole:
            return statement.content
        if last is not None:
            is_repeated = statement.is_whole and _bare(statement).startswith(_bare(last))
            return statement.content if is_repeated else None
        last = statement
    return None


def _bare(statement: Statement) -> str:
    return "".join(statement.content.replace("$", "").split())
