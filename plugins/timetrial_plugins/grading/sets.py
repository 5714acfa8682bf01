"""Unions, intersections and differences of sets of real numbers, in one normal form.

Inside, a set is a list of disjoint spans in order. A span begins and ends at a cut, which lies just before a number
(side 0) or just after it (side 1): [1, 2) goes from before 1 to before 2, the point 3 from before 3 to after 3.
Outside, one interval is a sequence key, points alone are a set, anything else a union of intervals, points as [3, 3].
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from timetrial_plugins.grading.structure import Key, sequence_key, set_key

MAX_EXPONENT = 1_000
"""Irrational ends of intervals beyond 10 ** MAX_EXPONENT are not compared."""
_REAL = re.compile(r"(-?[\d.]+)(?:e([-+]?\d+))?")
_LOWEST, _HIGHEST = ("infinity", "-"), ("infinity", "+")

REALS: Key = ("text", "reals")


class Cut(NamedTuple):
    """A place between the numbers of the real line; cuts compare by their place."""

    rank: int
    """-1 and 1 at the infinities, 0 in between."""
    number: Fraction
    side: int
    key: Key


class Span(NamedTuple):
    """All numbers between two cuts."""

    begin: Cut
    end: Cut


def union(keys: list[Key]) -> Key | None:
    """Return the key of all numbers that are in any of the sets; None if one of them is no set of known numbers."""
    spans: list[Span] = []
    for key in keys:
        more = _spans(key)
        if more is None:
            return None
        spans += more
    return _key(spans)


def intersection(keys: list[Key]) -> Key | None:
    """Return the key of all numbers that are in each of the sets; None if one of them is no set of known numbers."""
    common = _spans(REALS)
    for key in keys:
        spans = _spans(key)
        if spans is None or common is None:
            return None
        common = [
            Span(max(one.begin, other.begin, key=_place), min(one.end, other.end, key=_place))
            for one in common
            for other in spans
        ]
        common = [span for span in common if _place(span.begin) < _place(span.end)]
    return _key(common or [])


def difference(whole: Key, removed: Key) -> Key | None:
    """Return the key of the numbers of one set that are not in another."""
    outside = complement(removed)
    return None if outside is None else intersection([whole, outside])


def complement(key: Key) -> Key | None:
    """Return the key of the real numbers that are not in a set."""
    spans = _spans(key)
    if spans is None:
        return None
    gaps, begin = [], _cut(_LOWEST, 0)
    assert begin is not None
    for span in _merged(spans):
        gaps.append(Span(begin, span.begin))
        begin = span.end
    end = _cut(_HIGHEST, 0)
    assert end is not None
    gaps.append(Span(begin, end))
    return _key([gap for gap in gaps if _place(gap.begin) < _place(gap.end)])


def is_interval(key: Key) -> bool:
    """Whether a key can only be an interval: half-open, or with an infinite end."""
    if key[0] != "seq" or len(key) != 5:
        return False
    return (key[1] == "(") != (key[2] == ")") or "infinity" in (key[3][0], key[4][0])


def _place(cut: Cut) -> tuple[int, Fraction, int]:
    return cut[:3]


def _cut(key: Key, side: int) -> Cut | None:
    """Return the cut before (0) or after (1) a number; None if it is no real number that can be compared."""
    if key[0] == "infinity":
        return Cut(1 if key[1] == "+" else -1, Fraction(0), 0, key)
    if key[0] == "q":
        return Cut(0, Fraction(key[1]), side, key)
    match = _REAL.fullmatch(key[1]) if key[0] == "n" else None
    if match is None or abs(int(match[2] or 0)) > MAX_EXPONENT:
        return None
    return Cut(0, Fraction(Decimal(key[1])), side, key)


def _spans(key: Key) -> list[Span] | None:
    """Return the spans of a set; None if it is no set of known real numbers."""
    if key == REALS:
        return _spans(("seq", "(", ")", _LOWEST, _HIGHEST))
    if key[0] in ("set", "union"):
        parts = [_spans(part) for part in key[1:]]
        return None if None in parts else [span for part in parts if part is not None for span in part]
    if key[0] in ("q", "n"):
        return _between(_cut(key, 0), _cut(key, 1))
    if key[0] == "seq" and len(key) == 5 and key[1] in ("(", "[") and key[2] in (")", "]"):
        return _between(_cut(key[3], int(key[1] == "(")), _cut(key[4], int(key[2] == "]")))
    return None


def _between(begin: Cut | None, end: Cut | None) -> list[Span] | None:
    if begin is None or end is None or _place(begin) >= _place(end):
        return None
    return [Span(begin, end)]


def _merged(spans: list[Span]) -> list[Span]:
    """Join spans that overlap or touch."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (_place(span.begin), _place(span.end))):
        if merged and _place(span.begin) <= _place(merged[-1].end):
            merged[-1] = Span(merged[-1].begin, max(merged[-1].end, span.end, key=_place))
        else:
            merged.append(span)
    return merged


def _key(spans: list[Span]) -> Key:
    merged = _merged(spans)
    if all(_is_point(span) for span in merged):
        return set_key([span.begin.key for span in merged]) if merged else ("set",)
    intervals = [_interval(span) for span in merged]
    return intervals[0] if len(intervals) == 1 else ("union", *intervals)


def _is_point(span: Span) -> bool:
    return span.begin[:2] == span.end[:2]


def _interval(span: Span) -> Key:
    opening = "(" if span.begin.side else "["
    closing = "]" if span.end.side else ")"
    return sequence_key(opening, closing, [span.begin.key, span.end.key])
