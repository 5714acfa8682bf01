"""Causal grouped-query attention with rotary positions, over whole sequences and over a cache, as families share it.

Shapes: B batch, T tokens, D model width, H query heads, K key/value heads, P channels per head, S slots.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from timetrial_plugins.models.attention_state import StepCache, StepView
from timetrial_plugins.models.joint import JointLinear
from timetrial_plugins.models.layers import RotaryTables, rotate, rotate_step
from timetrial_plugins.models.shared_prompt import KeyValues, attend_in_segments


class SequenceView(NamedTuple):
    """What all layers of a model know of the sequences they read, (B, T)."""

    tables: RotaryTables  # of each position, in its own document
    doc_ids: Tensor | None  # (B, T)
    mask: Tensor | None  # (B, 1, T, T) True where a token may look; None: every token up to itself


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

    def step(self, x: Tensor, view: StepView, cache: StepCache, onto: Tensor | None = None) -> Tensor:
        """Attend from one new token per row, `x` (B, D), to the cache, after writing the token's own entry.

        The output is added to `onto`, if given, which may be overwritten.
        """
        heads = self.joint_in(x).view(len(x), -1, self.head_dim)  # (B, H + 2 K, P)
        turned, value = rotate_step(heads[:, : -self.num_kv_heads], view.turns), heads[:, -self.num_kv_heads :]
        query, key = turned[:, : self.num_heads], turned[:, self.num_heads :]
        cache.own.keys[view.entry] = key
        cache.own.values[view.entry] = value
        # The query heads of one group become the rows of one matrix: keys and values are read once per group.
        grouped = torch.unflatten(query, 1, (self.num_kv_heads, -1))  # (B, K, H/K, P)
        return self.joint_out(attend_in_segments(grouped, cache.segments, cache.prompts).flatten(1), onto)

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
        query, key, value = self.joint_in.apart(x)
        return query, key, value

    def output(self, mixed: Tensor) -> Tensor:
        """Return the output (B, T, D) of all heads' results, (B, T, H P)."""
        (output,) = self.joint_out.apart(mixed)
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
        (joined,) = self.joint_in.apart(x)
        query, key, value = torch.split(joined, sizes, dim=-1)
        return query, key, value

    def output(self, mixed: Tensor) -> Tensor:
        """Return the output (B, T, D) of all heads' results, (B, T, H P)."""
        (output,) = self.joint_out.apart(mixed)
        return output


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
