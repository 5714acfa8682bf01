"""The memory of rows whose recurrent states are written every L steps only, and what their steps read and write.

Beside each state lie the inputs since it was written. Every row counts its own, so that rows may come, go and move at
any time.
Legend: see the package; but L is the number of steps from one write to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timetrial_plugins.device.memory import RowMemory, RowsInUse, move_rows, write_rows
from timetrial_plugins.engine.graph import Bucket
from timetrial_plugins.models.interface import CausalModule, DecodeState
from timetrial_plugins.ops.step_ops import ReplayMemory, StepOps


class KeptInputs(NamedTuple):
    """What `ReplayMemory` has beside window and state, of all layers and rows."""

    x: Tensor  # (layers, R, H, L, P) of the type of the activations
    b: Tensor  # (layers, R, G, L, N)
    log_decay: Tensor  # (layers, R, H, L) float32


class ReplayRowMemory(RowMemory):
    """Memory of a Llamba's rows with states that are written every `interval` steps."""

    # Any: each family has its own kind of state
    def __init__(
        self, module: CausalModule[Any], rows: int, capacity: int, num_prompts: int = 0, *, interval: int
    ) -> None:
        """Allocate it; see `RowMemory`."""
        super().__init__(module, rows, capacity, num_prompts)
        self._interval = interval
        self._kept = _kept_inputs(self._buffers["conv"], self._buffers["ssm"], interval)
        self._fill = torch.zeros_like(self.counts)  # (R,) inputs kept of each row, 0 to L - 1

    def advance(self, rows: int, ops: StepOps) -> None:
        """Count the token that each of the first rows has drawn and read, and the input kept of it."""
        super().advance(rows, ops)
        self._fill[:rows].add_(self._active[:rows]).remainder_(self._interval)

    def put(
        self, source: DecodeState, row: int, rows: Sequence[int], streams: Sequence[int], *, is_shared: bool
    ) -> None:
        """Let rows continue a row of another state, which is up to date: nothing is kept yet."""
        super().put(source, row, rows, streams, is_shared=is_shared)
        write_rows(self._fill[:, None], rows, [[0]])

    def move(self, moves: Sequence[tuple[int, int]], slots: int) -> None:
        """Copy rows, with what is kept of them, over others; no row is both a source and a target."""
        super().move(moves, slots)
        move_rows([*(part.transpose(0, 1) for part in self._kept), self._fill], moves)

    def idle(self, first: int) -> None:
        """Take the rows from `first` on out of use: a step then writes their first kept input, and no state."""
        super().idle(first)
        self._fill[first:] = 0

    def _view(self, bucket: Bucket) -> RowsInUse:
        rows = super()._view(bucket)
        kept = zip(*(part[:, : bucket.rows].unbind(0) for part in self._kept), strict=True)
        fill = self._fill[: bucket.rows]
        replayed = [(ReplayMemory(*memory, *inputs), fill) for memory, inputs in zip(rows.memories, kept, strict=True)]
        return replace(rows, memories=(), replayed=replayed)


def new_memory(
    module: CausalModule[Any], rows: int, capacity: int, num_prompts: int = 0, *, interval: int
) -> RowMemory:  # Any: each family has its own kind of state
    """Return memory for steps that write recurrent states every `interval` steps."""
    if interval == 1:
        return RowMemory(module, rows, capacity, num_prompts)
    return ReplayRowMemory(module, rows, capacity, num_prompts, interval=interval)


def state_traffic(module: CausalModule[Any], interval: int) -> float:  # Any: each family has its own kind of state
    """Return the bytes of recurrent states that a step reads and writes per sequence, the mean over `interval` steps.

    Of L steps each reads the state and writes one input, the one with f inputs kept (f = 0 to L - 1) reads those, and
    the last writes the state: a state of s bytes and inputs of e bytes take

        s (1 + 1 / L) + e (L - 1) / 2 + e

    instead of 2 s. The windows of convolutions are read and written every step either way.
    """
    both_ways = 2 * module.footprint.state_bytes
    if interval == 1:
        return both_ways
    buffers = module.init_state(0, 1).buffers  # no rows: their shapes alone
    states = _bytes_per_row(buffers["ssm"])
    inputs = sum(map(_bytes_per_row, _kept_inputs(buffers["conv"], buffers["ssm"], 1)))
    return both_ways - states * (1 - 1 / interval) + inputs * (interval + 1) / 2


def _kept_inputs(windows: Tensor, states: Tensor, interval: int) -> KeptInputs:
    """Allocate room for `interval` inputs beside windows (layers, R, C, K - 1) and states (layers, R, H, P, N)."""
    layers, rows, heads, width, size = states.shape
    groups = (windows.shape[2] - heads * width) // (2 * size)  # the channels are those of x | B | C
    return KeptInputs(
        windows.new_zeros(layers, rows, heads, interval, width),
        windows.new_zeros(layers, rows, groups, interval, size),
        windows.new_zeros(layers, rows, heads, interval, dtype=torch.float32),
    )


def _bytes_per_row(buffer: Tensor) -> int:
    """Return the bytes of one row of a buffer (layers, R, ...)."""
    return buffer.shape[0] * buffer.shape[2:].numel() * buffer.element_size()
