"""Documents one behind the other, cut where a row ends: every token once an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from timetrial.error import UsageError
from timetrial_distillation.data.order import Integers
from timetrial_distillation.data.plan import CACHED_WINDOWS, Lengths, Piece, PlanConfig, document_order, row_order

SHUFFLED_ROWS = 256
"""Rows that are put in another order together."""


class _Window(NamedTuple):
    documents: Integers
    ends: Integers
    """Where each document ends, in tokens from the first of the window."""


class ConcatPlan:
    """The line of all documents of an epoch, in rows; only the last row of an epoch has padding."""

    def __init__(self, lengths: Lengths, config: PlanConfig) -> None:
        if not len(lengths):
            raise UsageError("there is no document to put into rows")
        self._lengths = lengths
        self._config = config
        self._num_tokens = int(lengths.sum(dtype=np.int64))
        self.rows_per_epoch = -(-self._num_tokens // config.length)
        self._window_ends = lru_cache(2)(self._find_window_ends)
        self._window = lru_cache(CACHED_WINDOWS)(self._arrange)
        self._row_order = lru_cache(2)(row_order)

    def epoch(self, position: int) -> int:
        """Return the epoch of a row."""
        return position // self.rows_per_epoch

    def row(self, position: int) -> Sequence[Piece]:
        """Return the pieces of a row."""
        epoch, row = divmod(position, self.rows_per_epoch)
        start = self._place(epoch, row) * self._config.length
        stop = min(start + self._config.length, self._num_tokens)
        ends = self._window_ends(epoch)
        window = int(np.searchsorted(ends, start, side="right"))
        pieces: list[Piece] = []
        while start < stop:
            first = int(ends[window - 1]) if window else 0
            last = min(stop, int(ends[window]))
            pieces += _cut(self._window(epoch, window), start - first, last - first)
            start, window = last, window + 1
        return pieces

    def _place(self, epoch: int, row: int) -> int:
        """Return where a row stands in the line of documents, in rows."""
        first = row - row % SHUFFLED_ROWS
        size = min(SHUFFLED_ROWS, self.rows_per_epoch - first)
        return first + int(self._row_order(size, self._config.seed, epoch, first)[row - first])

    def _find_window_ends(self, epoch: int) -> Integers:
        """Return where each window ends, in tokens from the first of the epoch."""
        num_windows = -(-len(self._lengths) // self._config.window)
        tokens = [self._lengths[self._documents(epoch, w)].sum(dtype=np.int64) for w in range(num_windows)]
        return np.cumsum(tokens)

    def _arrange(self, epoch: int, window: int) -> _Window:
        documents = self._documents(epoch, window)
        return _Window(documents, np.cumsum(self._lengths[documents], dtype=np.int64))

    def _documents(self, epoch: int, window: int) -> Integers:
        start, size = window * self._config.window, len(self._lengths)
        return document_order(size, self._config.seed, epoch).at(start, min(start + self._config.window, size))


def _cut(window: _Window, start: int, stop: int) -> list[Piece]:
    """Return the pieces that stand between two places of a window, in tokens."""
    pieces = []
    place = int(np.searchsorted(window.ends, start, side="right"))
    while start < stop:
        begin, end = (int(window.ends[place - 1]) if place else 0), int(window.ends[place])
        pieces.append(Piece(int(window.documents[place]), start - begin, min(stop, end) - begin))
        start, place = end, place + 1
    return pieces
