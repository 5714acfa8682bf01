"""The layers that families share: RMSNorm, SwiGLU MLP and rotary positions, with Hugging Face's parameter names.

Shapes: B batch, T tokens, D model width, F MLP width, P channels per head.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from timetrial_plugins.models.joint import JointLinear
from timetrial_plugins.models.kept import Kept
from timetrial_plugins.models.scan.precision import widen


class RMSNorm(nn.Module):
    """Divide by the root mean square over the last axis in float32, cast back, and multiply by the weight.

    With `scales_first` the weight is multiplied before the cast, as in the published hybrids; in float32 that is the
    same.
    """

    def __init__(self, width: int, epsilon: float, *, scales_first: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon, self.scales_first = epsilon, scales_first
        self._factors = Kept(self, _norm_factors)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x`, same shape and type."""
        if x.dtype in (torch.float32, torch.float64):
            return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
        if self.scales_first:
            return functional.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.epsilon).to(x.dtype)
        return functional.rms_norm(x.float(), self.weight.shape, None, self.epsilon).to(x.dtype) * self.weight

    def step(self, x: Tensor) -> Tensor:  # (B, D) -> (B, D)
        """Do the same for one token per row; where PyTorch has no kernel for it, in fewer operations."""
        if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
            normed: Tensor = self(x)
            return normed
        gain, least = self._factors()
        length = torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), least)  # sqrt(D (mean square + eps))
        return torch.div(x, length).mul_(gain)


class _NormFactors(NamedTuple):
    """An RMSNorm of width D as x / hypot(|x|, least) * gain."""

    gain: Tensor  # (D,) sqrt(D) times the weight
    least: Tensor  # () sqrt(D epsilon)


def _norm_factors(norm: RMSNorm) -> _NormFactors:
    width = norm.weight.numel()
    return _NormFactors(norm.weight * math.sqrt(width), norm.weight.new_tensor(math.sqrt(width * norm.epsilon)))


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, inner_width: int, *, bias: bool = False) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner_width, bias=bias)
        self.up_proj = nn.Linear(width, inner_width, bias=bias)
        self.down_proj = nn.Linear(inner_width, width, bias=bias)
        self.joint_in, self.joint_out = JointLinear(self.gate_proj, self.up_proj), JointLinear(self.down_proj)

    def forward(self, x: Tensor) -> Tensor:  # (..., D) -> (..., D)
        """Return the MLP's output, the shape of `x`."""
        gate, up = self.joint_in.apart(x)
        (output,) = self.joint_out.apart(functional.silu(gate) * up)
        return output

    def step(self, x: Tensor, onto: Tensor | None = None) -> Tensor:  # (B, D) -> (B, D)
        """Do the same for one token per row; the output is added to `onto`, if given, which may be overwritten."""
        gate, up = self.joint_in(x).chunk(2, dim=-1)
        return self.joint_out(functional.silu(gate).mul_(up), onto)


class Llama3Scaling(NamedTuple):
    """RoPE scaling of Llama 3.1 and later: long wavelengths are stretched, short ones kept, a ramp in between."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


class RotaryTables(NamedTuple):
    """cos and sin of the rotary angles, (T, P/2) float32 each (or (B, T, P/2) when gathered per row)."""

    cos: Tensor
    sin: Tensor

    def first(self, num_positions: int) -> RotaryTables:
        """Return the tables of the first positions."""
        return RotaryTables(self.cos[:num_positions], self.sin[:num_positions])

    def at(self, positions: Tensor) -> RotaryTables:
        """Return the tables gathered at `positions` (B, T)."""
        return RotaryTables(self.cos[positions], self.sin[positions])

    def turns(self) -> Turns:
        """Return the same tables laid out for a whole head at once."""
        return Turns(torch.cat((self.cos, self.cos), dim=-1), torch.cat((-self.sin, self.sin), dim=-1))


class Turns(NamedTuple):
    """Factors of a head's channels and of its swapped halves: (T, P) each, or (B, 1, P) gathered for a step's heads."""

    cos: Tensor
    sin: Tensor  # the first half negated

    def at(self, positions: Tensor) -> Turns:
        """Return the factors of one token per row, at `positions` (B,)."""
        return Turns(self.cos[positions, None], self.sin[positions, None])


class Rotary(NamedTuple):
    """How positions turn the channels of a head: the frequencies theta^(-2i/P), stretched or not."""

    head_dim: int
    theta: float
    scaling: Llama3Scaling | None

    def tables(self, num_positions: int, like: Tensor) -> RotaryTables:
        """Return the tables of positions 0 to `num_positions` - 1, on the device of `like`.

        Frequencies are made in float64. Tables and angles are float32, as in the published implementations, whatever
        the type of the weights, except that weights in float64 get theirs in float64.
        """
        frequencies = self.theta ** -(torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim)
        if self.scaling is not None:
            wavelengths = 2 * math.pi / frequencies
            turns = self.scaling.original_max_position_embeddings / wavelengths
            low, high = self.scaling.low_freq_factor, self.scaling.high_freq_factor
            keep = ((turns - low) / (high - low)).clamp(0, 1)  # 1: short wavelength, kept; 0: long, stretched
            frequencies = frequencies * (keep + (1 - keep) / self.scaling.factor)
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        positions = torch.arange(num_positions, dtype=dtype)
        angles = (positions[:, None] * frequencies.to(dtype)).to(like.device)
        return RotaryTables(angles.cos(), angles.sin())


def rotate(x: Tensor, tables: RotaryTables) -> Tensor:
    """Rotate the halves of each head, (B, T, heads, P), by its position's angles; the type of `x` is kept."""
    cos, sin = tables.cos[..., None, :], tables.sin[..., None, :]  # (T, 1, P/2) or (B, T, 1, P/2)
    first, second = widen(x).chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def rotate_step(x: Tensor, turns: Turns) -> Tensor:
    """Rotate the heads of one token per row, (B, heads, P), as `rotate` does."""
    wide = widen(x)
    return torch.addcmul(wide * turns.cos, wide.roll(wide.shape[-1] // 2, dims=-1), turns.sin).to(x.dtype)
