"""Random arguments for every operation, in the shapes of a Llama and of the students made of it: to time and compare.

Legend: see the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from timetrial_plugins.models.layers import Rotary
from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.step_ops import (
    Convolution,
    LlambaWeights,
    Mamba1Weights,
    Mamba2Weights,
    Memory,
    NormWeights,
    Place,
    ReplayMemory,
    SharedPrompts,
)

_TAPS, _MAMBA1_WIDTH, _ROWS_OF_BLOCK = 4, 16, 16


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialSizes:
    """Rows, and the shape of the Llama; its students have the same heads."""

    rows: int
    model_width: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int = 8192
    vocabulary: int = 128256
    slots: int = 1024
    """Own keys of every row, all in use."""
    prompt_tokens: int = 512
    kept: int = 16
    """L of the replayed state."""


LLAMAS = {
    "1b": {"model_width": 2048, "heads": 32, "kv_heads": 8, "head_dim": 64},
    "3b": {"model_width": 3072, "heads": 24, "kv_heads": 8, "head_dim": 128},
}
"""The shapes of the paper's teachers; Llamba-4B has that of the 3B."""


class Trials:
    """Arguments of the operations; equal seeds give equal ones."""

    def __init__(self, sizes: TrialSizes, device: torch.device, dtype: torch.dtype, seed: int = 0) -> None:
        """Draw weights and activations in `dtype`; states are float32."""
        self._sizes, self._device, self._dtype = sizes, device, dtype
        self._generator = torch.Generator(device).manual_seed(seed)

    def all(self) -> dict[str, tuple[Any, ...]]:  # Any: an operation's arguments
        """Return arguments of every operation, by its name in StepOps; attention over a shared prompt is extra.

        That one is named "attend shared".
        """
        query, own, lengths = self._attention()
        return {
            "llamba": self._llamba(),
            "llamba_replay": self._replay(),
            "mamba1": self._mamba1(),
            "mamba2": self._mamba2(),
            "rotate_and_store": self._rotation(own),
            "attend": (query, own, lengths, None),
            "attend shared": (query, own, lengths.clamp(max=self._sizes.slots // 2), self._prompts()),
            "add_norm": self._norm(),
            "gated_product": (self._normal(self._sizes.rows, 2 * self._sizes.mlp_width),),
            "draw": self._draw(),
        }

    def _llamba(self) -> tuple[Tensor, LlambaWeights, Memory]:
        heads, width, inner = self._heads()
        weights = LlambaWeights(self._convolution(3 * inner), self._normal(heads), self._normal(inner))
        memory = self._memory(3 * inner, heads, width, width)
        return self._normal(self._sizes.rows, 4 * inner + heads), weights, memory

    def _replay(self) -> tuple[Tensor, LlambaWeights, ReplayMemory, Tensor]:
        """Rows are at all stages of their cycle, so that a step costs its mean where there are L rows or more."""
        heads, width, _ = self._heads()
        rows, kept = self._sizes.rows, self._sizes.kept
        projected, weights, memory = self._llamba()
        x, b = (self._normal(rows, heads, kept, width) for _ in range(2))
        log_decay = -self._normal(rows, heads, kept, dtype=torch.float32).abs().cumsum(dim=2) / kept
        fill = torch.arange(rows, device=self._device) % kept
        return projected, weights, ReplayMemory(*memory, x, b, log_decay), fill

    def _mamba1(self) -> tuple[Tensor, Tensor, Mamba1Weights, Memory]:
        inner, width, rows = self._sizes.model_width, _MAMBA1_WIDTH, self._sizes.rows
        heads = inner // width
        weights = Mamba1Weights(
            self._convolution(inner),
            -self._normal(heads, width, width, dtype=torch.float32).exp(),
            self._normal(inner, dtype=torch.float32),
            self._normal(inner),
            self._sizes.heads // self._sizes.kv_heads,
        )
        projected = self._normal(rows, 2 * inner + 2 * inner // weights.repeat + inner // width)
        return projected, self._normal(rows, inner), weights, self._memory(inner, heads, width, width)

    def _mamba2(self) -> tuple[Tensor, Mamba2Weights, Memory]:
        heads, width, inner = self._heads()
        channels = 2 * self._sizes.kv_heads * width + inner
        weights = Mamba2Weights(
            self._convolution(channels),
            -self._normal(heads, dtype=torch.float32).exp(),
            self._normal(heads, dtype=torch.float32),
            self._normal(heads),
            self._normal(inner),
            1e-5,
        )
        projected = self._normal(self._sizes.rows, inner + channels + heads)
        return projected, weights, self._memory(channels, heads, width, width)

    def _rotation(self, own: KeyValues) -> tuple[Tensor, Place, KeyValues]:
        sizes = self._sizes
        tables = Rotary(sizes.head_dim, 500000.0, None).tables(sizes.slots, own.keys)
        positions = torch.arange(sizes.rows, device=self._device) % sizes.slots
        heads = self._normal(sizes.rows, sizes.heads + 2 * sizes.kv_heads, sizes.head_dim)
        return heads, Place(tables.cos, tables.sin, positions, positions), own

    def _attention(self) -> tuple[Tensor, KeyValues, Tensor]:
        sizes = self._sizes
        own = KeyValues(*(self._normal(sizes.rows, sizes.kv_heads, sizes.slots, sizes.head_dim) for _ in range(2)))
        lengths = torch.full((sizes.rows,), sizes.slots, device=self._device)
        return self._normal(sizes.rows, sizes.heads, sizes.head_dim), own, lengths

    def _prompts(self) -> SharedPrompts:
        """One prompt for all rows."""
        sizes = self._sizes
        blocks = -(-sizes.rows // _ROWS_OF_BLOCK)
        rows = torch.arange(blocks * _ROWS_OF_BLOCK, dtype=torch.int32, device=self._device)
        return SharedPrompts(
            KeyValues(*(self._normal(1, sizes.kv_heads, sizes.prompt_tokens, sizes.head_dim) for _ in range(2))),
            torch.full((1,), sizes.prompt_tokens, device=self._device),
            torch.zeros(sizes.rows, dtype=torch.int32, device=self._device),
            torch.zeros(blocks, dtype=torch.int32, device=self._device),
            rows.masked_fill(rows >= sizes.rows, -1).reshape(blocks, _ROWS_OF_BLOCK),
        )

    def _norm(self) -> tuple[Tensor, Tensor, NormWeights]:
        hidden, added = (self._normal(self._sizes.rows, self._sizes.model_width) for _ in range(2))
        return hidden, added, NormWeights(self._normal(self._sizes.model_width), 1e-5, False)

    def _draw(self) -> tuple[Tensor, Tensor, Tensor, float]:
        streams = torch.arange(self._sizes.rows, device=self._device)
        logits = self._normal(self._sizes.rows, self._sizes.vocabulary, dtype=torch.float32)
        return logits, streams, streams % 7, 1.0

    def _heads(self) -> tuple[int, int, int]:
        sizes = self._sizes
        return sizes.heads, sizes.head_dim, sizes.heads * sizes.head_dim

    def _convolution(self, channels: int) -> Convolution:
        return Convolution(self._normal(channels, _TAPS) / _TAPS, self._normal(channels))

    def _memory(self, channels: int, heads: int, width: int, size: int) -> Memory:
        rows = self._sizes.rows
        state = self._normal(rows, heads, size, width, dtype=torch.float32)
        return Memory(self._normal(rows, _TAPS - 1, channels).mT, state.mT)  # laid out as the models' buffers are

    def _normal(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        drawn = torch.randn(shape, generator=self._generator, device=self._device)
        return drawn.to(dtype or self._dtype)
