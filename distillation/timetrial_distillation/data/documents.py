"""An encoded document, and the labels of a piece of it. Shapes: L tokens of a document, N of a piece."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from timetrial_distillation.data.rows import IGNORED

Tokens = NDArray[np.uint32]
Mask = NDArray[np.bool_]
Supervision = Literal["answers", "all"]
"""What is learned: the assistant's tokens and plain texts, or every token that has one before it."""
SUPERVISIONS: tuple[Supervision, ...] = ("answers", "all")


class EncodedDocument(NamedTuple):
    """The tokens of a document."""

    tokens: Tokens
    """(L,), with what begins and ends a document."""
    is_answer: Mask
    """(L,), whether a token is learned when answers alone are; never the first, all others of a plain text."""


class Segment(NamedTuple):
    """A run of a document's tokens, as it stands in a row."""

    tokens: Tokens
    """(N,)."""
    labels: NDArray[np.int64]
    """(N,), the token to predict at each place, or IGNORED. The last label of a run that ends before its document is
    the token that follows, which stands in another row: so every token but the document's first is a label once."""


def cut_segment(document: EncodedDocument, start: int, stop: int, supervise: Supervision) -> Segment:
    """Return the tokens `start` to `stop` - 1 of a document with their labels."""
    following = document.tokens[start + 1 : stop + 1].astype(np.int64)
    if supervise == "answers":
        following[~document.is_answer[start + 1 : stop + 1]] = IGNORED
    labels = np.full(stop - start, IGNORED, dtype=np.int64)
    labels[: len(following)] = following
    return Segment(document.tokens[start:stop], labels)
