"""Which documents stand in which row: what every plan promises, and what the two kinds have in common.

A plan is a function of the documents' lengths and a seed, worked out where it is asked for. Documents are put in a
seeded order, another one each epoch; a *window* is a number of documents that follow one another in it, arranged
together. Rows are numbered through all epochs, and a row's number is the only position there is.

Rows that are near one another are put in another seeded order too: the pieces of a long document, or the rows that best
fit fills first, must not follow one another in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from timetrial.error import UsageError
from timetrial_distillation.data.order import Integers, Permutation

Lengths = NDArray[np.int32]
"""(D,), the tokens of each document."""
Mode = Literal["bfd", "concat"]
MODES: tuple[Mode, ...] = ("bfd", "concat")
WINDOW = 4096
CACHED_WINDOWS = 64
"""Windows a plan remembers."""


class Piece(NamedTuple):
    """A run of a document's tokens."""

    document: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanConfig:
    """How documents are arranged in rows."""

    length: int
    """Tokens a row."""
    mode: Mode = "bfd"
    """bfd: whole documents, best-fit decreasing; longer ones than a row are left out. concat: one behind the other, cut
    where a row ends; nothing is left out."""
    seed: int = 0
    window: int = WINDOW
    """Documents arranged together. More of them fill rows of whole documents better."""

    def __post_init__(self) -> None:
        """Refuse what no plan can be made of.

        Raises:
            UsageError: names the field.
        """
        if self.length < 2:
            raise UsageError(f"length is {self.length}; expected 2 or more: a token and the one that follows it")
        if self.mode not in MODES:
            raise UsageError(f"mode is {self.mode!r}; expected {' or '.join(MODES)}")
        if self.window < 1:
            raise UsageError(f"window is {self.window}; expected 1 or more documents")


class Plan(Protocol):
    """The arrangement of documents in rows, epoch after epoch, without end."""

    def row(self, position: int) -> Sequence[Piece]:
        """Return the pieces that stand in a row, from left to right."""
        ...

    def epoch(self, position: int) -> int:
        """Return the epoch that a row belongs to, from 0."""
        ...


def document_order(num_documents: int, seed: int, epoch: int) -> Permutation:
    """Return the order of the documents in an epoch."""
    return Permutation(num_documents, "documents", seed, epoch)


def row_order(num_rows: int, seed: int, epoch: int, place: int) -> Integers:
    """Return the order of rows that are near one another, (num_rows,)."""
    return Permutation(num_rows, "rows", seed, epoch, place).at(0, num_rows)
