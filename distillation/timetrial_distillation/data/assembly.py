"""Segments of documents to rows of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from timetrial_distillation.data.documents import Segment
from timetrial_distillation.data.rows import IGNORED, Rows

PADDING = 0
"""The token on padding. Any would do: padding is a document of its own, and nothing is learned there."""


def assemble(rows: Sequence[Sequence[Segment]], length: int) -> Rows:
    """Put the segments of each row side by side, each as a document of its own, and pad the rest of the row."""
    tokens = np.full((len(rows), length), PADDING, dtype=np.int64)
    labels = np.full((len(rows), length), IGNORED, dtype=np.int64)
    doc_ids = np.empty((len(rows), length), dtype=np.int64)
    num_tokens = 0
    for row, segments in enumerate(rows):
        start = 0
        for number, segment in enumerate(segments):
            stop = start + len(segment.tokens)
            tokens[row, start:stop] = segment.tokens
            labels[row, start:stop] = segment.labels
            doc_ids[row, start:stop] = number
            start = stop
        doc_ids[row, start:] = len(segments)
        num_tokens += start
    return Rows(
        tokens=torch.from_numpy(tokens),
        labels=torch.from_numpy(labels),
        doc_ids=torch.from_numpy(doc_ids),
        num_tokens=num_tokens,
        num_labels=int((labels != IGNORED).sum()),
    )
