"""Causal grouped-query attention with rotary positions, over whole sequences and over a cache, as families share it.

Shapes: B batch, T tokens, D model width, H query heads, K key/value heads, P channels per head, L attention layers,
R rows allocated, S slots of the key/value buffers. What a row's slots hold is its own: what it has read, apart from
a prompt that it shares with other rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from timetrial_plugins.models.interface import DecodeState
from timetrial_plugins.models.joint import JointLinear
from timetrial_plugins.models.layers import RotaryTables, Turns, rotate, rotate_in_place
from timetrial_plugins.models.shared_prompt import KeyValues, PromptRows, attend, attend_to_prompts, merge

_BUCKET = 16  # attention reads the key/value buffers up to a multiple of this, not to their end


class SequenceView(NamedTuple):
    """What all layers of a model know of the sequences they read, (B, T)."""

    tables: RotaryTables  # of each position, in its own document
    doc_ids: Tensor | None  # (B, T)
    mask: Tensor | None  # (B, 1, T, T) True where a token may look; None: every token up to itself


class StepView(NamedTuple):
    """What all attention layers of a model know of the tokens of one decode step, (B,)."""

    turns: Turns  # (B, 1, P) of each row's position
    entry: tuple[Any, ...]  # where in (B, K, S, P) each row's new entry goes; Any: an index of slices and tensors
    bias: Tensor | None  # (B, 1, 1, S): 0 up to the row's own last slot, -inf after it; None: no row ends before S


class StepCache(NamedTuple):
    """What one layer attends to in a step."""

    own: KeyValues  # (B, K, S, P)
    prompts: Sequence[PromptRows]


class GroupedQueryAttention(nn.Module, ABC):
    """The computation; how the weights are stored is the subclasses' business."""

    joint_in: JointLinear
    """Query, key and value in a decode step: (B, D) to (B, (H + 2 K) P)."""
    joint_out: JointLinear
    """`output` in a decode step."""

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

    def step(self, x: Tensor, view: StepView, cache: StepCache) -> Tensor:
        """Attend from one new token per row, `x` (B, D), to the cache, after writing the token's own entry."""
        heads = torch.unflatten(self.joint_in(x), -1, (-1, self.head_dim))  # (B, H + 2 K, P)
        rotate_in_place(heads[:, : -self.num_kv_heads], view.turns)
        query, key = heads[:, : self.num_heads], heads[:, self.num_heads : -self.num_kv_heads]
        value = heads[:, -self.num_kv_heads :]
        cache.own.keys[view.entry] = key
        cache.own.values[view.entry] = value
        # The query heads of one group become the rows of one matrix: keys and values are read once per group.
        grouped = torch.unflatten(query, 1, (self.num_kv_heads, -1))  # (B, K, H/K, P)
        attended = attend(grouped, cache.own, view.bias)
        if cache.prompts:
            return self.joint_out(merge(attend_to_prompts(grouped, cache.prompts), attended).flatten(1))
        return self.joint_out(attended.mixed.flatten(1))

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
        self.joint_in = JointLinear(self.q_proj, self.k_proj, self.v_proj)
        self.joint_out = JointLinear(self.o_proj)

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
        self.joint_in, self.joint_out = JointLinear(self.in_proj), JointLinear(self.out_proj)

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
        self._turns = tables.turns()
        self._prompts: list[KeyValues | None] = []  # of each row in use, all layers (L, K, S, P) of what it shares
        self._offsets = torch.zeros_like(self.lengths)  # (R,) tokens of the prompt that a row shares
        self._own: tuple[int, int] | None = None  # least and most slots of a row in use; None: to be looked up
        self._groups: list[tuple[Tensor | None, KeyValues]] = []  # each shared prompt and its rows

    def share(self, source: DecodeState, copies: int) -> None:
        """Add rows that continue another state's first row and read its keys and values there, where they stay."""
        start, length = self.batch, source.longest
        memory = {name: buffer[:, :1] for name, buffer in source.buffers.items() if name not in ("keys", "values")}
        super()._add(memory, source.lengths[:1], copies, length)
        self._offsets[start : self.batch] = source.lengths[:1]
        keys, values = (source.buffers[name][:, 0, :, :length] for name in ("keys", "values"))
        self._prompts += [KeyValues(keys, values)] * copies
        self._regroup()

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of the rows in use, none of which may share a prompt."""
        assert not self._groups, "rows that share a prompt cannot be saved"
        return super().snapshot()

    def move(self, sources: Tensor, targets: Tensor, batch: int) -> None:
        """Copy rows `sources` over rows `targets`, then leave the first `batch` rows in use."""
        super().move(sources, targets, batch)
        self._offsets[targets] = self._offsets[sources]
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            self._prompts[target] = self._prompts[source]
        del self._prompts[batch:]
        self._regroup()

    def store(self, layer: int, entries: KeyValues) -> None:
        """Keep what attention layer `layer` made of the prompts, which fill the first rows and slots."""
        batch, _, length, _ = entries.keys.shape
        self.buffers["keys"][layer, :batch, :, :length] = entries.keys
        self.buffers["values"][layer, :batch, :, :length] = entries.values

    def finish_prefill(self, batch: int, length: int) -> None:
        """Put the first `batch` rows in use, `length` tokens long."""
        self.lengths[:batch] = length
        self.batch, self.longest = batch, length
        self._prompts = [None] * batch

    def caches(self) -> list[StepCache]:
        """Return what every layer attends to in the next step."""
        keys, values = (self.buffers[name][:, : self.batch, :, : self._num_slots()] for name in ("keys", "values"))
        return [
            StepCache(
                KeyValues(*own),
                [PromptRows(rows, KeyValues(*(part[layer, None] for part in prompt))) for rows, prompt in self._groups],
            )
            for layer, own in enumerate(zip(keys, values, strict=True))
        ]

    def step_view(self) -> StepView:
        """Return what attention layers must know for the next token of every row in use."""
        least, most = self._own_range()
        assert most < self.capacity, "the state is full"
        positions, device = self.lengths[: self.batch], self.lengths.device
        turns = self._turns.at(positions)
        if least == most:
            return StepView(turns, (slice(None), slice(None), most), None)
        own = positions - self._offsets[: self.batch]
        rows, slots = (torch.arange(size, device=device) for size in (self.batch, self._num_slots()))
        bias = torch.zeros(self.batch, len(slots), dtype=self.buffers["keys"].dtype, device=device)
        bias = bias.masked_fill_(slots > own[:, None], -torch.inf)[:, None, None]
        return StepView(turns, (rows, slice(None), own), bias)

    def finish_step(self) -> None:
        """Count the token that every row in use has read."""
        least, most = self._own_range()
        self._own = least + 1, most + 1
        self.lengths[: self.batch] += 1
        self.longest += 1

    def _add(self, rows: Mapping[str, Tensor], lengths: Tensor, count: int, longest: int) -> None:
        start = self.batch
        super()._add(rows, lengths, count, longest)
        self._offsets[start : self.batch] = 0
        self._prompts += [None] * count
        self._regroup()

    def _regroup(self) -> None:
        """Find out which rows share which prompt, and forget how many slots rows have."""
        self._own = None
        rows_of: dict[int, list[int]] = {}
        for row, prompt in enumerate(self._prompts):
            if prompt is not None:
                rows_of.setdefault(id(prompt), []).append(row)
        self._groups = []
        for rows in rows_of.values():
            prompt = self._prompts[rows[0]]
            assert prompt is not None
            is_all = len(rows) == self.batch
            self._groups.append((None if is_all else torch.tensor(rows, device=self.lengths.device), prompt))

    def _own_range(self) -> tuple[int, int]:
        """Return the least and the most slots of a row in use; the device is asked only after rows came or went."""
        if self._own is None:
            own = self.lengths[: self.batch] - self._offsets[: self.batch]
            self._own = (int(own.min()), int(own.max())) if self.batch else (0, 0)
        return self._own

    def _num_slots(self) -> int:
        """Return how many slots the next step reads: those in use, up to a multiple where rows differ."""
        least, most = self._own_range()
        return most + 1 if least == most else min(-(-(most + 1) // _BUCKET) * _BUCKET, self.capacity)


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
