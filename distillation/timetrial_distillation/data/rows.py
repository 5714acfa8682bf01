"""Rows of packed documents, and the promise that every source of them keeps. Knows neither files nor plans.

Shapes: B rows, T tokens a row.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch

IGNORED = -100
"""The label of places where nothing is to be learned; PyTorch's own default."""


class Rows(NamedTuple):
    """Rows that go through the model together: `model.logits(tokens, doc_ids)` against `labels`."""

    tokens: torch.Tensor
    """(B, T) int64 inputs, padded on the right."""
    labels: torch.Tensor
    """(B, T) int64, the token to predict AT each place (already shifted by one), or IGNORED: on padding, at the last
    token of a document, and before prompt tokens unless everything is supervised."""
    doc_ids: torch.Tensor
    """(B, T) int64, another number for each document of a row; padding is a document of its own."""
    num_tokens: int
    """Inputs without the padding."""
    num_labels: int
    """Labels that are not IGNORED."""
    shares: torch.Tensor | None = None
    """(B, T) float32, how much of the probability the label is to get where there is one; None: all of it."""

    def to(self, device: torch.device) -> Rows:
        """Return the rows on a device."""
        return self._replace(
            tokens=self.tokens.to(device),
            labels=self.labels.to(device),
            doc_ids=self.doc_ids.to(device),
            shares=None if self.shares is None else self.shares.to(device),
        )


class RowSource(Protocol):
    """An endless sequence of rows, each a pure function of its position.

    Epochs follow one another without a seam. Nothing depends on who asks: rank r of R asks for the rows that are its
    own, and a run that is resumed on another number of ranks sees the same sequence.
    """

    @property
    def length(self) -> int:
        """Tokens a row, T."""
        ...

    @property
    def digest(self) -> str:
        """Hexadecimal digest of the data and of all that decides how it is arranged: equal digests, equal rows."""
        ...

    @property
    def tokenizer_digest(self) -> str:
        """Hexadecimal digest of the tokenizer the tokens belong to, to be compared with the model's."""
        ...

    def rows(self, start: int, count: int) -> Rows:
        """Return the global rows `start` to `start + count - 1`."""
        ...
