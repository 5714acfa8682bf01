"""Which rows of a batch read their keys and values together: neighbours, all as far as the longest of them.

What is read past a row's own end is read for nothing. Rows that began at different times differ by hundreds of slots,
so they are read in spans, and who takes rows out of a batch keeps those together that have come as far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

ROWS_TOGETHER = 16
"""Rows of the smallest span: products of fewer matrices cost more than they save."""


class Span(NamedTuple):
    """Rows `start` to `stop` - 1, which read `least` to `most` slots each."""

    start: int
    stop: int
    least: int
    most: int

    @property
    def rows(self) -> slice:
        """The rows."""
        return slice(self.start, self.stop)

    @property
    def read(self) -> int:
        """Slots that are read of all rows together."""
        return (self.stop - self.start) * self.most

    def later(self) -> Span:
        """Return the span after one more token per row."""
        return Span(self.start, self.stop, self.least + 1, self.most + 1)

    def joined(self, after: Span) -> Span:
        """Return this span and the one after it as one."""
        return Span(self.start, after.stop, min(self.least, after.least), max(self.most, after.most))


def spans_of(slots: Sequence[int], least_saved: int) -> list[Span]:
    """Return spans of all rows, given the slots of each; a border between two saves reading `least_saved` slots."""
    spans: list[Span] = []
    for start in range(0, len(slots), ROWS_TOGETHER):
        some = slots[start : start + ROWS_TOGETHER]
        span = Span(start, start + len(some), min(some), max(some))
        while spans and spans[-1].joined(span).read - spans[-1].read - span.read < least_saved:
            span = spans.pop().joined(span)
        spans.append(span)
    return spans
