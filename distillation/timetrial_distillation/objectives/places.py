"""Which places of packed rows count. Shapes: B rows, T tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from timetrial_distillation.data.rows import IGNORED, Rows


def learned_documents(rows: Rows) -> Tensor:
    """Return whether a token's document has any label, (B, T) bool; padding, a document of its own, has none."""
    is_first = functional.pad(rows.doc_ids[:, 1:] != rows.doc_ids[:, :-1], (1, 0), value=True)
    numbers = is_first.cumsum(1) - 1  # (B, T) of documents in their row
    has_label = torch.zeros_like(numbers).scatter_reduce(1, numbers, (rows.labels != IGNORED).long(), "amax")
    return has_label.gather(1, numbers).bool()


def all_labels(rows: Rows) -> Tensor:
    """Return labels (B, T) at prompts as well: the next token, wherever it is of the same document and not padding."""
    following = functional.pad(rows.tokens[:, 1:], (0, 1), value=IGNORED)
    is_same = functional.pad(rows.doc_ids[:, 1:] == rows.doc_ids[:, :-1], (0, 1), value=False)
    return following.where(is_same & learned_documents(rows), IGNORED)
