"""The project's own model families as bodies of reward models.

Every family reads whole sequences. A Llama also reads on after a prefix: each layer attends to the prefix's keys and
values, which are computed for one row and used by all.
Shapes: B sequences, S tokens of the prefix, T tokens after it, M positions, D model width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from timetrial_plugins.engine import placement
from timetrial_plugins.models.attention import GroupedQueryAttention, SequenceView
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.layers import RotaryTables, rotate
from timetrial_plugins.models.llama import Llama, LlamaLayer
from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.rewards.body import Batch


class OwnBody:
    """A module of one of the families, on a device."""

    def __init__(self, module: CausalModule[Any], family: str, device: torch.device) -> None:  # Any: its state
        """Read with the module's layers; its output head is left alone."""
        self._module, self._family, self.device = module, family, device
        self.vocab_size, self.context_length = module.vocab_size, module.context_length
        self.continues = isinstance(module, Llama)

    @property
    def facts(self) -> Mapping[str, Any]:  # Any: JSON-ready
        """Family, size, number format and device."""
        weight = self._module.anatomy.embedding.weight
        return {
            "family": self._family,
            "parameters": sum(parameter.numel() for parameter in self._module.parameters()),
            "dtype": str(weight.dtype).removeprefix("torch."),
            "device": placement.device_name(self.device),
        }

    def states(self, batch: Batch) -> Tensor:
        """Return the hidden states, after the last norm, at the batch's positions: (M, D), in order."""
        anatomy = self._module.anatomy
        hidden = anatomy.embedding(batch.tokens)  # (B, T, D)
        if len(batch.prefix):
            hidden = self._read_on(hidden, batch.prefix)
        else:
            view = self._module.view(batch.tokens, None)
            for layer in anatomy.layers:
                hidden, _ = layer(hidden, view)
        states: Tensor = anatomy.norm(hidden[batch.rows, batch.columns])
        return states

    def _read_on(self, hidden: Tensor, prefix: Tensor) -> Tensor:
        """Return the last layer's output (B, T, D) after a prefix (S,); one layer's keys and values at a time."""
        module = cast("Llama", self._module)
        first, length = len(prefix), hidden.shape[1]
        tables = module.rotary.tables(first + length, hidden)
        before = module.view(prefix[None], None)
        after = RotaryTables(tables.cos[first:], tables.sin[first:])
        # A token sees the whole prefix, and what follows it up to itself: (T, S + T).
        mask = torch.ones(length, first + length, dtype=torch.bool, device=hidden.device).tril(first)
        shared = module.anatomy.embedding(prefix[None])  # (1, S, D)
        for layer in module.anatomy.layers:
            shared, entries = layer(shared, before)
            hidden = _layer_after(cast("LlamaLayer", layer), hidden, entries, SequenceView(after, None, mask))
        return hidden


def _layer_after(layer: LlamaLayer, hidden: Tensor, prefix: KeyValues, view: SequenceView) -> Tensor:
    """Return a layer's output (B, T, D) for tokens that follow a prefix."""
    hidden = hidden + _attend_after(layer.self_attn, layer.input_layernorm(hidden), prefix, view)
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output


def _attend_after(attention: GroupedQueryAttention, x: Tensor, prefix: KeyValues, view: SequenceView) -> Tensor:
    """Return attention's output for `x` (B, T, D) after a prefix whose keys and values are (1, K, S, P)."""
    query, key, value = (torch.unflatten(part, -1, (-1, attention.head_dim)) for part in attention.project(x))
    own = rotate(key, view.tables).transpose(1, 2), value.transpose(1, 2)  # (B, K, T, P) each
    # Not every device has a fused kernel for a mask and shared heads at once; with heads of their own all have.
    copies = attention.num_heads // attention.num_kv_heads
    keys, values = (
        torch.cat((before.expand(len(x), -1, -1, -1), after), dim=2).repeat_interleave(
            copies, dim=1
        )  # (B, H, S + T, P)
        for before, after in zip(prefix, own, strict=True)
    )
    mixed = functional.scaled_dot_product_attention(
        rotate(query, view.tables).transpose(1, 2), keys, values, attn_mask=view.mask
    )
    return attention.output(mixed.transpose(1, 2).flatten(2))
