"""Initial values of Mamba layers as their published code draws them, each a function of a random generator.

Facts: docs/models.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_SHORTEST_STEP, _LONGEST_STEP, _FLOOR = 0.001, 0.1, 1e-4


class Fresh(NamedTuple):
    """A value that comes from no teacher."""

    value: Tensor  # float32
    kind: Literal["drawn", "constant"]


def drawn_uniform(shape: Sequence[int], bound: float, generator: torch.Generator) -> Fresh:
    """Draw from -`bound` to `bound`; 1/sqrt(inputs of one output) is what PyTorch's layers do by themselves."""
    return Fresh(torch.empty(*shape).uniform_(-bound, bound, generator=generator), "drawn")


def constant(shape: Sequence[int], value: float) -> Fresh:
    """Fill with one value."""
    return Fresh(torch.full(tuple(shape), value), "constant")


def drawn_dt_bias(size: int, generator: torch.Generator) -> Fresh:
    """Draw biases whose softplus, the step size dt, is log-uniform from 0.001 to 0.1."""
    shortest, longest = math.log(_SHORTEST_STEP), math.log(_LONGEST_STEP)
    steps = (torch.rand(size, generator=generator) * (longest - shortest) + shortest).exp().clamp(min=_FLOOR)
    return Fresh(steps + torch.log(-torch.expm1(-steps)), "drawn")  # the inverse of softplus


def counted_rates(channels: int, states: int) -> Fresh:
    """Return log(1), ..., log(`states`) for every channel: the A_log of Mamba-1, (channels, states)."""
    return Fresh(torch.arange(1, states + 1, dtype=torch.float32).log().repeat(channels, 1), "constant")


def drawn_rates(heads: int, generator: torch.Generator) -> Fresh:
    """Draw the log of uniform rates from 1 to 16: the A_log of Mamba-2, (heads,)."""
    return Fresh(torch.empty(heads).uniform_(1, 16, generator=generator).log(), "drawn")
