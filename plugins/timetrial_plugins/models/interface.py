"""What every family offers the engine: one shape of module, and one kind of memory for the sequences it decodes.

A family keeps its memory (keys and values, convolution windows, recurrent states) in the buffers of a DecodeState, so
the engine can broadcast, append and drop rows without knowing the family.
Shapes: B batch, T tokens, V vocabulary, L layers, R rows allocated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn


class DecodeState:
    """Pre-allocated buffers, each (L, R, ...), whose first `batch` rows are sequences with a length each."""

    def __init__(self, buffers: Mapping[str, Tensor], capacity: int) -> None:
        """Own `buffers`, no row in use; `capacity` bounds the tokens of a row."""
        self.buffers = dict(buffers)
        self.capacity = capacity
        self.batch = 0
        """Rows in use."""
        self.longest = 0
        """The length of the longest row in use, known to the host without asking the device."""
        any_buffer = next(iter(self.buffers.values()))
        self.lengths = torch.zeros(any_buffer.shape[1], dtype=torch.int64, device=any_buffer.device)
        """Tokens seen by each row, (R,)."""

    def append(self, source: DecodeState, copies: int) -> None:
        """Broadcast the first row of another state, of the same or smaller capacity, to `copies` new rows here."""
        start, stop = self.batch, self.batch + copies
        for name, buffer in self.buffers.items():
            row = source.buffers[name][:, :1]
            buffer[(slice(None), slice(start, stop), *(slice(size) for size in row.shape[2:]))] = row
        self.lengths[start:stop] = source.lengths[:1]
        self.batch = stop
        self.longest = max(self.longest, source.longest)

    def move(self, sources: Tensor, targets: Tensor, batch: int) -> None:
        """Copy rows `sources` over rows `targets`, then leave the first `batch` rows in use."""
        for buffer in (*self.buffers.values(), self.lengths[None]):
            buffer[:, targets] = buffer[:, sources]
        self.batch = batch
        self.longest = int(self.lengths[:batch].max()) if batch else 0

    def wipe(self, rows: Tensor) -> None:
        """Zero the memory of rows: what is not a number there would outlive them, since even weight 0 keeps it."""
        for buffer in self.buffers.values():
            buffer[:, rows] = 0


class Footprint(NamedTuple):
    """What one decode step of a model reads, writes and multiplies (decoding.md, section 1)."""

    weight_bytes: int
    """Weights read once per step, whatever the batch."""
    linear_parameters: int
    """Parameters of the matrix products, the output head included."""
    kv_bytes_per_token: int
    """Keys and values read per sequence and token of context."""
    state_bytes: int
    """Recurrent state per sequence, read and written."""


State = TypeVar("State", bound=DecodeState)


class CausalModule(nn.Module, ABC, Generic[State]):
    """A language model as the engine sees it; parameters have the names of the published checkpoints."""

    vocab_size: int
    context_length: int
    """The most tokens, prompt and completion together, the model was made for."""
    redundant_tensors: Sequence[str] = ()
    """Regular expressions for tensors that a checkpoint may hold and the module does not need."""

    @property
    @abstractmethod
    def footprint(self) -> Footprint:
        """What a decode step costs."""

    @abstractmethod
    def logits(self, tokens: Tensor) -> Tensor:
        """Return next-token logits (B, T, V) in float32 for `tokens` (B, T) without padding; differentiable."""

    @abstractmethod
    def init_state(self, rows: int, capacity: int) -> State:
        """Return a state with room for `rows` sequences of `capacity` tokens, none in use."""

    @abstractmethod
    def prefill(self, tokens: Tensor, state: State) -> Tensor:
        """Read prompts of equal length, (B, T), into an empty state; return the logits (B, V) after them."""

    @abstractmethod
    def step(self, tokens: Tensor, state: State) -> Tensor:
        """Read one token per row in use, (B,); return the next token's logits (B, V) in float32."""
