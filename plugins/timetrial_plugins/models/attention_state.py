"""What attention remembers of the sequences that are decoded: keys and values, and prompts that rows share.

Shapes: B batch, H query heads, K key/value heads, P channels per head, L attention layers, R rows allocated, S slots of
the key/value buffers. What a row's slots hold is its own: what it has read, apart from a prompt that it shares with
other rows.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timetrial_plugins.models.interface import DecodeState
from timetrial_plugins.models.layers import RotaryTables, Turns
from timetrial_plugins.models.shared_prompt import KeyValues, PromptRows, Segment, multiplies
from timetrial_plugins.models.spans import Span, spans_of

_BUCKET = 16  # attention reads the key/value buffers up to a multiple of this, not to their end
_FIRST_SLOTS = 128  # of buffers that can grow
_LEAST_SAVED_BYTES = 2**19  # of a layer's keys and values, by reading rows in two spans: what the second one costs


class StepView(NamedTuple):
    """What all attention layers of a model know of the tokens of one decode step, (B,)."""

    turns: Turns  # (B, 1, P) of each row's position
    entry: tuple[Any, ...]  # where in (B, K, S, P) each row's new entry goes; Any: an index of slices and tensors


class StepCache(NamedTuple):
    """What one layer attends to in a step."""

    own: KeyValues  # (B, K, S, P), where new entries are written
    segments: Sequence[Segment]  # of the same, as far as their rows have come
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
        self._spans: list[Span] | None = None  # of the rows in use; None: to be looked up
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
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            self._offsets[target] = self._offsets[source]
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

    def slots_read(self) -> list[int]:
        """Return how many slots a step reads of each row in use."""
        return self._own(slice(self.batch)).tolist()

    def caches(self) -> list[StepCache]:
        """Return what every layer attends to in the next step."""
        spans = self._row_spans()
        self._reserve(max(map(self._num_slots, spans), default=1))
        own = self._entries(slice(self.batch), self._slots)
        parts = [self._entries(span.rows, self._num_slots(span)) for span in spans]
        biases = [self._bias(span) for span in spans]
        segments = [
            [Segment(span.rows, entries, bias) for span, entries, bias in zip(spans, layer, biases, strict=True)]
            for layer in zip(*parts, strict=True)
        ]
        return list(map(StepCache, own, segments, self._groups))

    def step_view(self) -> StepView:
        """Return what attention layers must know for the next token of every row in use."""
        least, most = self._own_range()
        assert most < self.capacity, "the state is full"
        turns = self._turns.at(self.lengths[: self.batch])
        if least == most:
            return StepView(turns, (slice(None), slice(None), most))
        rows = slice(self.batch)
        return StepView(turns, (torch.arange(self.batch, device=self.lengths.device), slice(None), self._own(rows)))

    def finish_step(self) -> None:
        """Count the token that every row in use has read."""
        self._spans = [span.later() for span in self._row_spans()]
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
        self._spans = None
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

    def _own(self, rows: slice) -> Tensor:
        """Return how many slots of their own rows have come to."""
        return self.lengths[rows] - self._offsets[rows]

    def _row_spans(self) -> list[Span]:
        """Return which rows in use are read together; the device is asked only after rows came or went."""
        if self._spans is None:
            _, _, heads, _, channels = (keys := self.buffers["keys"]).shape
            slot_bytes = 2 * heads * channels * keys.element_size()
            least_saved = -(-_LEAST_SAVED_BYTES // slot_bytes) if multiplies(keys) else sys.maxsize
            self._spans = spans_of(self.slots_read(), least_saved)
        return self._spans

    def _own_range(self) -> tuple[int, int]:
        """Return the least and the most slots of a row in use."""
        spans = self._row_spans()
        return min((span.least for span in spans), default=0), max((span.most for span in spans), default=0)

    def _num_slots(self, span: Span) -> int:
        """Return how many slots the next step reads: those in use, up to a multiple where rows differ."""
        if span.least == span.most:
            return span.most + 1
        return min(-(-(span.most + 1) // _BUCKET) * _BUCKET, self.capacity)

    def _entries(self, rows: slice, slots: int) -> list[KeyValues]:
        """Return what each layer has of rows, up to a slot."""
        keys, values = (self.buffers[name][:, rows, :, :slots] for name in ("keys", "values"))
        return list(map(KeyValues, keys.unbind(0), values.unbind(0)))

    def _bias(self, span: Span) -> Tensor | None:
        """Return what is added to the scores: 0 up to each row's last slot, -inf after it; None if all are equal."""
        if span.least == span.most:
            return None
        keys, own = self.buffers["keys"], self._own(span.rows)
        slots = torch.arange(self._num_slots(span), device=own.device)
        bias = keys.new_zeros(len(own), len(slots)).masked_fill_(slots > own[:, None], -torch.inf)
        return bias[:, None, None]


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
