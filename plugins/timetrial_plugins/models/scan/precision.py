"""The number format in which recurrences are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """Return `x` in float32, or as it is if it is float64: half formats lose a state within a few hundred steps."""
    return x if x.dtype == torch.float64 else x.float()
