"""The layers that families share, with Hugging Face's parameter names: RMSNorm, SwiGLU MLP, grouped-query attention.

Shapes: B batch, T tokens, D model width, F MLP width, H query heads, K key/value heads, P channels per head,
S slots of the key/value buffers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.Module):
    """Divide by the root mean square over the last axis in float32, cast back, then multiply by the weight."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x`, same shape and type."""
        if x.dtype == torch.float32:
            return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
        return functional.rms_norm(x.float(), self.weight.shape, None, self.epsilon).to(x.dtype) * self.weight


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, inner_width: int, *, bias: bool = False) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner_width, bias=bias)
        self.up_proj = nn.Linear(width, inner_width, bias=bias)
        self.down_proj = nn.Linear(inner_width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (..., D) -> (..., D)
        """Return the MLP's output, the shape of `x`."""
        gated = functional.silu(self.gate_proj(x)) * self.up_proj(x)
        output: Tensor = self.down_proj(gated)
        return output


class Llama3Scaling(NamedTuple):
    """RoPE scaling of Llama 3.1 and later: long wavelengths are stretched, short ones kept, a ramp in between."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


class RotaryTables(NamedTuple):
    """cos and sin of the rotary angles, (T, P/2) float32 each (or (B, 1, P/2) when gathered per row)."""

    cos: Tensor
    sin: Tensor


def rotary_tables(
    num_positions: int, head_dim: int, theta: float, scaling: Llama3Scaling | None, device: torch.device
) -> RotaryTables:
    """Return the rotary tables of positions 0 to `num_positions` - 1.

    Frequencies are made in float64 and stored in float32, whatever the type of the weights; angles are float32, as
    in the published implementations.
    """
    frequencies = theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    if scaling is not None:
        wavelengths = 2 * math.pi / frequencies
        turns = scaling.original_max_position_embeddings / wavelengths
        ramp = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
        keep = ramp.clamp(0, 1)  # 1: short wavelength, kept; 0: long wavelength, stretched
        frequencies = frequencies * (keep + (1 - keep) / scaling.factor)
    positions = torch.arange(num_positions, dtype=torch.float32)
    angles = (positions[:, None] * frequencies.float()).to(device)
    return RotaryTables(angles.cos(), angles.sin())


def rotate(x: Tensor, tables: RotaryTables) -> Tensor:
    """Rotate the halves of each head, (B, T, heads, P), by its position's angles; the type of `x` is kept."""
    cos, sin = tables.cos[..., None, :], tables.sin[..., None, :]  # (T, 1, P/2) or (B, 1, 1, P/2)
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Causal grouped-query attention with rotary positions."""

    def __init__(self, width: int, num_heads: int, num_kv_heads: int, head_dim: int, *, bias: bool = False) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, head_dim
        self.q_proj = nn.Linear(width, num_heads * head_dim, bias=bias)
        self.k_proj = nn.Linear(width, num_kv_heads * head_dim, bias=bias)
        self.v_proj = nn.Linear(width, num_kv_heads * head_dim, bias=bias)
        self.o_proj = nn.Linear(num_heads * head_dim, width, bias=bias)

    def attend(self, x: Tensor, tables: RotaryTables) -> tuple[Tensor, Tensor, Tensor]:
        """Attend within `x` (B, T, D) from an empty context.

        Returns the output (B, T, D) and what a later step needs: keys and values, (B, K, T, P) each.
        """
        query, key, value = self._project(x, tables)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=self.num_kv_heads < self.num_heads
        )
        return self._merge(mixed), key, value

    def step(self, x: Tensor, tables: RotaryTables, cache: KeyValueSlice) -> Tensor:
        """Attend from one new token per row, `x` (B, 1, D), to the cache, after writing the token's own entry."""
        query, key, value = self._project(x, tables)
        cache.write(key, value)
        batch = x.shape[0]
        # The query heads of one group become the rows of one matrix: keys and values are read once per group.
        grouped = query.reshape(batch, self.num_kv_heads, -1, self.head_dim) * self.head_dim**-0.5  # (B, K, H/K, P)
        scores = (grouped @ cache.keys.transpose(-1, -2)).float()  # (B, K, H/K, S)
        weights = torch.softmax(scores.add_(cache.bias), dim=-1).to(x.dtype)
        return self._merge((weights @ cache.values).reshape(batch, self.num_heads, 1, self.head_dim))

    def _project(self, x: Tensor, tables: RotaryTables) -> tuple[Tensor, Tensor, Tensor]:
        """Return query (B, H, T, P), key and value (B, K, T, P) of `x`, the first two rotated."""
        batch, length, _ = x.shape
        query = self.q_proj(x).view(batch, length, self.num_heads, self.head_dim)
        key = self.k_proj(x).view(batch, length, self.num_kv_heads, self.head_dim)
        value = self.v_proj(x).view(batch, length, self.num_kv_heads, self.head_dim)
        return rotate(query, tables).transpose(1, 2), rotate(key, tables).transpose(1, 2), value.transpose(1, 2)

    def _merge(self, heads: Tensor) -> Tensor:  # (B, H, T, P) -> (B, T, D)
        output: Tensor = self.o_proj(heads.transpose(1, 2).flatten(2))
        return output


class KeyValueSlice(NamedTuple):
    """One layer's key/value buffers as a decode step sees them."""

    keys: Tensor  # (B, K, S, P)
    values: Tensor  # (B, K, S, P)
    rows: Tensor  # (B,) 0, 1, ..., B - 1
    positions: Tensor  # (B,) where each row's new entry goes
    bias: Tensor  # (B, 1, 1, S) float32: 0 up to the row's position, -inf after it

    def write(self, key: Tensor, value: Tensor) -> None:
        """Store the entries of one new token per row, (B, K, 1, P) each."""
        self.keys[self.rows, :, self.positions] = key[:, :, 0]
        self.values[self.rows, :, self.positions] = value[:, :, 0]
