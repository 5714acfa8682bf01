"""Where documents packed in one row begin.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor


def document_starts(doc_ids: Tensor) -> Tensor:
    """Return whether each token is another document's than the token before it, (B, T) bool.

    A row's first token is not: it continues the document of the state the row starts from.
    """
    first = torch.zeros_like(doc_ids[:, :1], dtype=torch.bool)
    return torch.cat((first, doc_ids[:, 1:] != doc_ids[:, :-1]), dim=1)
