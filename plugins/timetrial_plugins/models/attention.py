"""Causal grouped-query attention with rotary positions, over whole sequences and over a cache, as families share it.

Shapes: B batch, T tokens, D model width, H query heads, K key/value heads, P channels per head, L attention layers,
R rows allocated, S slots of the key/value buffers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from timetrial_plugins.models.interface import DecodeState
from timetrial_plugins.models.layers import RotaryTables, rotate
from timetrial_plugins.models.scan.precision import widen

_BUCKET = 16  # attention reads the key/value buffers up to a multiple of this, not to their end


class SequenceView(NamedTuple):
    """What all layers of a model know of the sequences they read, (B, T)."""

    tables: RotaryTables  # of each position, in its own document
    doc_ids: Tensor | None  # (B, T)
    mask: Tensor | None  # (B, 1, T, T) True where a token may look; None: every token up to itself


class StepView(NamedTuple):
    """What all attention layers of a model know of the tokens of one decode step, (B,)."""

    tables: RotaryTables  # (B, 1, P/2)
    rows: Tensor  # (B,) 0, 1, ..., B - 1
    positions: Tensor  # (B,) where each row's new entry goes
    bias: Tensor  # (B, 1, 1, S) float32: 0 up to the row's position, -inf after it


class KeyValues(NamedTuple):
    """One layer's keys and values: as it made them of T tokens, or S slots of its buffers."""

    keys: Tensor  # (B, K, T or S, P)
    values: Tensor  # (B, K, T or S, P)


class GroupedQueryAttention(nn.Module, ABC):
    """The computation; how the weights are stored is the subclasses' business."""

    def __init__(self, num_heads: int, num_kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, head_dim

    @abstractmethod
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query (B, T, H P), key and value (B, T, K P) of `x` (B, T, D)."""

    @abstractmethod
    def output(self, mixed: Tensor) -> Tensor:
        """Return the output (B, T, D) of all heads' results, (B, T, H P)."""

    def attend(self, x: Tensor, view: SequenceView) -> tuple[Tensor, KeyValues]:
        """Attend within `x` (B, T, D) from an empty context; return the output and what a later step needs."""
        query, key, value = self._heads(x, view.tables)
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=view.mask,
            is_causal=view.mask is None,
            enable_gqa=self.num_kv_heads < self.num_heads,
        )
        return self._merge(mixed), KeyValues(key, value)

    def step(self, x: Tensor, view: StepView, cache: KeyValues) -> Tensor:
        """Attend from one new token per row, `x` (B, 1, D), to the cache, after writing the token's own entry."""
        query, key, value = self._heads(x, view.tables)
        cache.keys[view.rows, :, view.positions] = key[:, :, 0]
        cache.values[view.rows, :, view.positions] = value[:, :, 0]
        batch = x.shape[0]
        # The query heads of one group become the rows of one matrix: keys and values are read once per group.
        grouped = query.reshape(batch, self.num_kv_heads, -1, self.head_dim) * self.head_dim**-0.5  # (B, K, H/K, P)
        scores = widen(grouped @ cache.keys.transpose(-1, -2))  # (B, K, H/K, S)
        weights = torch.softmax(scores.add_(view.bias), dim=-1).to(x.dtype)
        return self._merge((weights @ cache.values).reshape(batch, self.num_heads, 1, self.head_dim))

    def _heads(self, x: Tensor, tables: RotaryTables) -> tuple[Tensor, Tensor, Tensor]:
        """Return query (B, H, T, P), key and value (B, K, T, P) of `x`, the first two rotated."""
        query, key, value = (torch.unflatten(part, -1, (-1, self.head_dim)) for part in self.project(x))
        return rotate(query, tables).transpose(1, 2), rotate(key, tables).transpose(1, 2), value.transpose(1, 2)

    def _merge(self, heads: Tensor) -> Tensor:  # (B, H, T, P) -> (B, T, D)
        return self.output(heads.transpose(1, 2).flatten(2))


class Attention(GroupedQueryAttention):
    """Attention with one matrix each for query, key and value: Hugging Face's `self_attn`."""

    def __init__(self, width: int, num_heads: int, num_kv_heads: int, head_dim: int, *, bias: bool = False) -> None:
        super().__init__(num_heads, num_kv_heads, head_dim)
        self.q_proj = nn.Linear(width, num_heads * head_dim, bias=bias)
        self.k_proj = nn.Linear(width, num_kv_heads * head_dim, bias=bias)
        self.v_proj = nn.Linear(width, num_kv_heads * head_dim, bias=bias)
        self.o_proj = nn.Linear(num_heads * head_dim, width, bias=bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query (B, T, H P), key and value (B, T, K P) of `x` (B, T, D)."""
        return self.q_proj(x), self.k_proj(x), self.v_proj(x)

    def output(self, mixed: Tensor) -> Tensor:
        """Return the output (B, T, D) of all heads' results, (B, T, H P)."""
        output: Tensor = self.o_proj(mixed)
        return output


class FusedAttention(GroupedQueryAttention):
    """Attention with one matrix whose rows are those of query, key and value: the published hybrids' `mha`."""

    def __init__(self, width: int, num_heads: int, num_kv_heads: int, head_dim: int) -> None:
        super().__init__(num_heads, num_kv_heads, head_dim)
        self.in_proj = nn.Linear(width, (num_heads + 2 * num_kv_heads) * head_dim, bias=False)
        self.out_proj = nn.Linear(num_heads * head_dim, width, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query (B, T, H P), key and value (B, T, K P) of `x` (B, T, D)."""
        sizes = [heads * self.head_dim for heads in (self.num_heads, self.num_kv_heads, self.num_kv_heads)]
        query, key, value = torch.split(self.in_proj(x), sizes, dim=-1)
        return query, key, value

    def output(self, mixed: Tensor) -> Tensor:
        """Return the output (B, T, D) of all heads' results, (B, T, H P)."""
        output: Tensor = self.out_proj(mixed)
        return output


class AttentionState(DecodeState):
    """Keys and values, (L, R, K, S, P) each, beside whatever else a family keeps, and the tables of all S positions."""

    def __init__(self, buffers: Mapping[str, Tensor], tables: RotaryTables) -> None:
        super().__init__(buffers, capacity=tables.cos.shape[0])
        self.tables = tables

    def store(self, layer: int, entries: KeyValues) -> None:
        """Keep what attention layer `layer` made of the prompts, which fill the first rows and slots."""
        batch, _, length, _ = entries.keys.shape
        self.buffers["keys"][layer, :batch, :, :length] = entries.keys
        self.buffers["values"][layer, :batch, :, :length] = entries.values

    def finish_prefill(self, batch: int, length: int) -> None:
        """Put the first `batch` rows in use, `length` tokens long."""
        self.lengths[:batch] = length
        self.batch, self.longest = batch, length

    def caches(self) -> list[KeyValues]:
        """Return every layer's buffers as far as the next step reads them."""
        keys, values = (self.buffers[name][:, : self.batch, :, : self._num_slots] for name in ("keys", "values"))
        return [KeyValues(*pair) for pair in zip(keys, values, strict=True)]

    def step_view(self) -> StepView:
        """Return what attention layers must know for the next token of every row in use."""
        assert self.longest < self.capacity, "the state is full"
        positions, device = self.lengths[: self.batch], self.lengths.device
        rows, slots = (torch.arange(size, device=device) for size in (self.batch, self._num_slots))
        is_ahead = slots > positions[:, None]
        bias = torch.zeros(is_ahead.shape, device=device).masked_fill_(is_ahead, -torch.inf)[:, None, None]
        return StepView(self.tables.at(positions[:, None]), rows, positions, bias)

    def finish_step(self) -> None:
        """Count the token that every row in use has read."""
        self.lengths[: self.batch] += 1
        self.longest += 1

    @property
    def _num_slots(self) -> int:
        return min(-(-(self.longest + 1) // _BUCKET) * _BUCKET, self.capacity)


def key_value_buffers(shape: Sequence[int], like: Tensor) -> dict[str, Tensor]:
    """Return buffers "keys" and "values" of `shape` (L, R, K, S, P), of the type and on the device of `like`."""
    # Zeros, because what lies past a row's end gets weight 0, and 0 times garbage may be NaN.
    return {name: torch.zeros(shape, dtype=like.dtype, device=like.device) for name in ("keys", "values")}


def view_sequences(tables: RotaryTables, length: int, doc_ids: Tensor | None) -> SequenceView:
    """Return the view of sequences of `length` tokens; documents look at themselves and count from 0 each."""
    tables = tables.first(length)
    if doc_ids is None:
        return SequenceView(tables, None, None)
    is_same = doc_ids[:, None, :, None] == doc_ids[:, None, None, :]
    return SequenceView(tables.at(_positions(doc_ids)), doc_ids, is_same.tril())


def _positions(doc_ids: Tensor) -> Tensor:
    """Return each token's position in its document, (B, T)."""
    index = torch.arange(doc_ids.shape[1], device=doc_ids.device)
    is_first = functional.pad(doc_ids[:, 1:] != doc_ids[:, :-1], (1, 0), value=True)
    return index - torch.where(is_first, index, 0).cummax(dim=1).values
