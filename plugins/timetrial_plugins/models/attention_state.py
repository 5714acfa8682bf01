"""What attention remembers of the sequences that are decoded: keys and values, and prompts that rows share.

Shapes: B batch, H query heads, K key/value heads, P channels per head, L attention layers, R rows allocated, S slots of
the key/value buffers. What a row's slots hold is its own: what it has read, apart from a prompt that it shares with
other rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timetrial_plugins.models.interface import DecodeState
from timetrial_plugins.models.layers import RotaryTables, Turns
from timetrial_plugins.models.shared_prompt import KeyValues, PromptRows, multiplies

_BUCKET = 16  # attention reads the key/value buffers up to a multiple of this, not to their end
_FIRST_SLOTS = 128  # of buffers that can grow


class StepView(NamedTuple):
    """What all attention layers of a model know of the tokens of one decode step, (B,)."""

    turns: Turns  # (B, 1, P) of each row's position
    entry: tuple[Any, ...]  # where in (B, K, S, P) each row's new entry goes; Any: an index of slices and tensors
    bias: Tensor | None  # (B, 1, 1, S): 0 up to the row's own last slot, -inf after it; None: no row ends before S


class StepCache(NamedTuple):
    """What one layer attends to in a step."""

    own: KeyValues  # (B, K, S, P)
    prompts: Sequence[PromptRows]


class AttentionState(DecodeState):
    """Keys and values, (L, R, K, S, P) each, beside whatever else a family keeps, and the tables of all S positions."""

    def __init__(self, buffers: Mapping[str, Tensor], tables: RotaryTables) -> None:
        """Own `buffers`, with those of `key_value_buffers` among them, which grow with the longest row if they can."""
        super().__init__(buffers, capacity=tables.cos.shape[0])
        self.tables = tables
        self._turns = tables.turns()
        self._prompts: list[KeyValues | None] = []  # of each row in use, all layers (L, K, S, P) of what it shares
        self._offsets = torch.zeros_like(self.lengths)  # (R,) tokens of the prompt that a row shares
        self._own: tuple[int, int] | None = None  # least and most slots of a row in use; None: to be looked up
        self._groups: list[list[PromptRows]] = [[] for _ in self.buffers["keys"]]  # a layer's prompts and their rows

    def share(self, source: DecodeState, copies: int, row: int = 0) -> None:
        """Add rows that continue a row of another state and read its keys and values in one place."""
        start, length, one = self.batch, source.longest, slice(row, row + 1)
        memory = {name: buffer[:, one] for name, buffer in source.buffers.items() if name not in ("keys", "values")}
        super()._add(memory, source.lengths[one], copies, length)
        self._offsets[start : self.batch] = source.lengths[one]
        keys, values = (source.buffers[name][:, row, :, :length].contiguous() for name in ("keys", "values"))
        self._prompts += [KeyValues(keys, values)] * copies
        self._regroup()

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Add the rows of a snapshot, from a state of the same or smaller capacity, after the rows in use.

        Raises:
            CheckpointError: the snapshot is another model's, or does not fit.
        """
        keys = snapshot.get("keys")
        if keys is not None and keys.dim() == self.buffers["keys"].dim():
            self._reserve(min(keys.shape[3], self.capacity))
        super().restore(snapshot)

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of the rows in use, none of which may share a prompt."""
        assert not any(self._groups), "rows that share a prompt cannot be saved"
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
        self._reserve(length)
        self.buffers["keys"][layer, :batch, :, :length] = entries.keys
        self.buffers["values"][layer, :batch, :, :length] = entries.values

    def finish_prefill(self, batch: int, length: int) -> None:
        """Put the first `batch` rows in use, `length` tokens long."""
        self.lengths[:batch] = length
        self.batch, self.longest = batch, length
        self._prompts = [None] * batch

    def caches(self) -> list[StepCache]:
        """Return what every layer attends to in the next step."""
        slots = self._num_slots()
        self._reserve(slots)
        keys, values = (self.buffers[name][:, : self.batch, :, :slots] for name in ("keys", "values"))
        own = map(KeyValues, keys.unbind(0), values.unbind(0))
        return [StepCache(entries, prompts) for entries, prompts in zip(own, self._groups, strict=True)]

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
        self._reserve(rows["keys"].shape[3])
        super()._add(rows, lengths, count, longest)
        self._offsets[start : self.batch] = 0
        self._prompts += [None] * count
        self._regroup()

    def _used(self) -> dict[str, Tensor]:
        """Leave out the slots that no row has come to."""
        slots = self._own_range()[1]
        return {
            name: buffer[:, :, :, :slots] if name in ("keys", "values") else buffer
            for name, buffer in self.buffers.items()
        }

    @property
    def _slots(self) -> int:
        return self.buffers["keys"].shape[3]

    def _reserve(self, slots: int) -> None:
        """Make room for `slots` slots a row, and some more, if there is not: a dense buffer is read faster."""
        if slots <= (before := self._slots):
            return
        room = min(max(slots, 2 * before), self.capacity)
        *rows, _, channels = self.buffers["keys"].shape
        for name, larger in _zeros((*rows, room, channels), self.buffers["keys"]).items():
            larger[..., :before, :] = self.buffers[name]
            self.buffers[name] = larger

    def _regroup(self) -> None:
        """Find out which rows share which prompt, and forget how many slots rows have."""
        self._own = None
        rows_of: dict[int, list[int]] = {}
        for row, prompt in enumerate(self._prompts):
            if prompt is not None:
                rows_of.setdefault(id(prompt), []).append(row)
        self._groups = [[] for _ in self.buffers["keys"]]
        for rows in rows_of.values():
            prompt = self._prompts[rows[0]]
            assert prompt is not None
            which = None if len(rows) == self.batch else torch.tensor(rows, device=self.lengths.device)
            for layer, (keys, values) in enumerate(zip(*prompt, strict=True)):
                self._groups[layer].append(PromptRows(which, KeyValues(keys[None], values[None])))

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
    """Return buffers "keys" and "values" of `shape` (L, R, K, S, P), of the type and on the device of `like`.

    On a CPU they begin with fewer slots; elsewhere addresses must stay.
    """
    *rows, slots, channels = shape
    return _zeros((*rows, min(slots, _FIRST_SLOTS) if like.device.type == "cpu" else slots, channels), like)


def _zeros(shape: Sequence[int], like: Tensor) -> dict[str, Tensor]:
    """Return empty buffers; where keys are multiplied by, a channel's slots lie side by side."""
    # Zeros, because what lies past a row's end gets weight 0, and 0 times garbage may be NaN.
    *rows, slots, channels = shape
    keys = like.new_zeros(*rows, channels, slots).mT if multiplies(like) else like.new_zeros(*shape)
    return {"keys": keys, "values": like.new_zeros(*shape)}
