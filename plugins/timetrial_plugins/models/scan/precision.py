"""The number format in which recurrences are computed, and how their states lie in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """Return `x` in float32, or as it is if it is float64: half formats lose a state within a few hundred steps."""
    return x if x.dtype == torch.float64 else x.float()


def state_buffer(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a buffer of recurrent states, (..., P, N) zeros, in which the channels lie side by side.

    A step multiplies a state by what is the same for all its channels, or for all its N.
    """
    *rows, channels, size = shape
    return torch.zeros(*rows, size, channels, dtype=dtype, device=device).mT
