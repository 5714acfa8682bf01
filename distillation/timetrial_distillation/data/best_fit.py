"""Whole documents in rows: best-fit decreasing (Johnson 1973) inside each window."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from functools import lru_cache

from timetrial.error import UsageError
from timetrial_distillation.data.plan import CACHED_WINDOWS, Lengths, Piece, PlanConfig, document_order, row_order


class BestFitPlan:
    """Every document that is no longer than a row, once an epoch."""

    def __init__(self, lengths: Lengths, config: PlanConfig) -> None:
        shortest = int(lengths.min()) if len(lengths) else None
        if shortest is None or shortest > config.length:
            raise UsageError(
                f"no document fits into a row of {config.length} tokens (the shortest has {shortest})."
                " Take longer rows, or the mode concat, which splits documents."
            )
        self._lengths = lengths
        self._config = config
        self._windows_per_epoch = -(-len(lengths) // config.window)
        self._row_ends: list[int] = []
        """Where each window ends, in rows, through all epochs and as far as windows have been arranged."""
        self._window = lru_cache(CACHED_WINDOWS)(self._arrange)

    def epoch(self, position: int) -> int:
        """Return the epoch of a row."""
        return self._find_window(position) // self._windows_per_epoch

    def row(self, position: int) -> Sequence[Piece]:
        """Return the pieces of a row; a row far ahead needs all windows before it to be arranged once."""
        window = self._find_window(position)
        first = self._row_ends[window - 1] if window else 0
        return [Piece(document, 0, int(self._lengths[document])) for document in self._window(window)[position - first]]

    def _find_window(self, position: int) -> int:
        while not self._row_ends or self._row_ends[-1] <= position:
            num_rows = len(self._window(len(self._row_ends)))
            self._row_ends.append((self._row_ends[-1] if self._row_ends else 0) + num_rows)
        return bisect_right(self._row_ends, position)

    def _arrange(self, window: int) -> list[list[int]]:
        """Return the documents of each row of a window; windows are numbered through all epochs."""
        seed, capacity, size = self._config.seed, self._config.length, len(self._lengths)
        epoch, place = divmod(window, self._windows_per_epoch)
        start = place * self._config.window
        documents = document_order(size, seed, epoch).at(start, min(start + self._config.window, size))
        documents = documents[self._lengths[documents] <= capacity]
        rows = best_fit(self._lengths[documents].tolist(), capacity)
        names = documents.tolist()
        return [[names[item] for item in rows[row]] for row in row_order(len(rows), seed, epoch, place)]


def best_fit(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Put items into bins, largest first, each into the fullest bin that takes it; return the items of each bin.

    No size is above the capacity. Of equal items, and of equal bins, the earlier one comes first.
    """
    bins: list[list[int]] = []
    rooms: list[int] = []  # sorted: a bin's room and its number in one integer, so that one list holds both
    bits = len(sizes).bit_length()
    for item in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
        place = bisect_left(rooms, sizes[item] << bits)
        if place == len(rooms):
            room, number = capacity, len(bins)
            bins.append([])
        else:
            room, number = divmod(rooms.pop(place), 1 << bits)
        bins[number].append(item)
        insort(rooms, (room - sizes[item]) << bits | number)
    return bins
