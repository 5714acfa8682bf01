"""Strings that end a completion: found while it grows, and cut off exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from timetrial.protocol import Tokenizer

_TOKENS_PER_CHARACTER = 4  # UTF-8: a token holds at least one byte, apart from special tokens


class Stopped(NamedTuple):
    """A completion that a stop string ended."""

    text: str
    """What comes before the stop string."""
    num_tokens: int
    """Tokens up to and including the one that completed the stop string."""


class StopStrings:
    """Looks for stop strings in the text of tokens."""

    def __init__(self, strings: Sequence[str], tokenizer: Tokenizer) -> None:
        self._strings = tuple(strings)
        self._tokenizer = tokenizer
        self._margin = _TOKENS_PER_CHARACTER * max(map(len, strings), default=0)

    def __bool__(self) -> bool:
        return bool(self._strings)

    def may_end_in(self, tokens: Sequence[int], num_new: int) -> bool:
        """Return whether the last `num_new` tokens seem to complete a stop string; cheap, and `find` decides."""
        tail = tokens[-num_new - self._margin :]
        return self._first(self._tokenizer.decode(tail)) is not None

    def find(self, tokens: Sequence[int]) -> Stopped | None:
        """Return where the first stop string in the text of `tokens` ends the completion, or None."""
        if not self._strings or (start := self._first(self._tokenizer.decode(tokens))) is None:
            return None
        low, high = 0, len(tokens)  # the fewest tokens whose text holds a stop string, by bisection
        while high - low > 1:
            middle = (low + high) // 2
            if self._first(self._tokenizer.decode(tokens[:middle])) is None:
                low = middle
            else:
                high = middle
        text = self._tokenizer.decode(tokens[:high])
        start = self._first(text)
        assert start is not None
        return Stopped(text[:start], high)

    def _first(self, text: str) -> int | None:
        """Return where the earliest stop string begins."""
        starts = [start for string in self._strings if (start := text.find(string)) >= 0]
        return min(starts, default=None)
