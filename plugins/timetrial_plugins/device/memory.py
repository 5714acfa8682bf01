"""The static memory of the rows that a device decodes: what layers remember, where rows stand, and shared prompts.

Every tensor keeps its address and shape, so that a recorded step serves whatever rows come and go. Rows that are not in
use are idle: a step that includes them reads and writes their first slot, draws nothing new for them, and leaves their
place at 0, so they may be part of any bucket.
Legend: see the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from timetrial_plugins.engine.graph import Bucket
from timetrial_plugins.models.frame import LlamaFrame
from timetrial_plugins.models.interface import CausalModule, DecodeState
from timetrial_plugins.models.layers import RotaryTables
from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.prompt_plan import PromptPlan
from timetrial_plugins.ops.step_ops import Memory, Place, ReplayMemory, SharedPrompts, StepOps

_NUM_COUNTERS = 4
_SLOTTED = {"keys", "values"}  # buffers (L, R, G, S, P), the others being (L, R, ...)


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsInUse:
    """Views of the first rows and slots, as a step in a bucket sees them."""

    place: Place
    own_lengths: Tensor  # (B,) int64: slots of each row, its new one included
    slots: Sequence[KeyValues]
    """Of each attention layer, (B, G, S, P)."""
    prompts: Sequence[SharedPrompts | None]
    """The shared prompts as each attention layer sees them."""
    memories: Sequence[Memory]
    """Of each recurrent layer."""
    replayed: Sequence[tuple[ReplayMemory, Tensor]] = ()
    """In place of `memories` where states are written every L steps: with how much each row keeps, (B,) int64."""


class RowMemory:
    """Memory of up to R rows of S tokens, none in use."""

    # Any: each family has its own kind of state
    def __init__(self, module: CausalModule[Any], rows: int, capacity: int, num_prompts: int = 0) -> None:
        """Allocate it, with room for `num_prompts` prompts that rows share; a family without attention shares none."""
        template = module.init_state(rows, 1)
        device = template.lengths.device
        self._buffers = dict(template.buffers)
        self.has_slots = "keys" in self._buffers and len(self._buffers["keys"]) > 0
        nothing = torch.empty(0, 0, device=device)
        self._tables = RotaryTables(nothing, nothing)  # of families that turn nothing
        if isinstance(module, LlamaFrame):
            self._tables = module.rotary.tables(capacity, self._buffers["keys"])
            self._buffers |= self._slots(rows, capacity)._asdict()
        self._idle = torch.tensor([[0], [0], [1], [0], [0], [0]], device=device)
        self._standing = self._idle.repeat(1, rows)  # (6, R), of which the counters come first
        # (R,) each: tokens read, those in own slots, the same with the next one, drawn; 1 for rows in use, 0 for others
        self._positions, self._own, self._own_lengths, self.counts, self._active, self.streams = self._standing
        self._entries = self._slots(num_prompts, capacity) if num_prompts and self.has_slots else None
        self._prompt_lengths = torch.zeros(num_prompts, dtype=torch.int64, device=device)  # (M,)
        self._plan = PromptPlan(rows, num_prompts, device)
        self._views: dict[Bucket, RowsInUse] = {}

    @property
    def can_share(self) -> bool:
        """Whether rows may share prompts."""
        return self._entries is not None

    def view(self, bucket: Bucket) -> RowsInUse:
        """Return what a step in the bucket reads and writes."""
        if bucket not in self._views:
            self._views[bucket] = self._view(bucket)
        return self._views[bucket]

    def advance(self, rows: int, ops: StepOps) -> None:
        """Count the token that each of the first rows has drawn and read; idle rows have not."""
        ops.count(self._standing[:_NUM_COUNTERS, :rows], self._active[:rows])

    def put(
        self, source: DecodeState, row: int, rows: Sequence[int], streams: Sequence[int], *, is_shared: bool
    ) -> None:
        """Let rows continue a row of another state, with seeds of their own.

        With `is_shared` their keys and values are a placed prompt's.
        """
        length = source.longest
        own = 0 if is_shared else length
        write_rows(self._standing.mT, rows, [(length, own, own + 1, 0, 1, stream) for stream in streams])
        for name, buffer in self._buffers.items():
            if name not in _SLOTTED:
                _repeat_row(source.buffers[name][:, row], buffer, rows)
            elif not is_shared:
                _repeat_row(source.buffers[name][:, row, :, :length], buffer[:, :, :, :length], rows)

    @torch.inference_mode()
    def place_prompt(self, source: DecodeState, row: int, place: int) -> None:
        """Keep the keys and values of a row of another state as the prompt of that index."""
        assert self._entries is not None
        length = source.longest
        self._prompt_lengths[place] = length
        for name, entries in self._entries._asdict().items():
            entries[:, place, :, :length] = source.buffers[name][:, row, :, :length]

    def assign_prompts(self, prompt_of_row: Sequence[int]) -> None:
        """Say which placed prompt each row in use shares, -1 for none."""
        if self.can_share:
            self._plan.assign(prompt_of_row)

    def move(self, moves: Sequence[tuple[int, int]], slots: int) -> None:
        """Copy rows, up to `slots` of their slots, over others; no row is both a source and a target."""
        used = [buffer[:, :, :, :slots] if name in _SLOTTED else buffer for name, buffer in self._buffers.items()]
        move_rows([part.transpose(0, 1) for part in (*used, self._standing)], moves)

    def idle(self, first: int) -> None:
        """Take the rows from `first` on out of use."""
        self._standing[:, first:] = self._idle

    def _slots(self, rows: int, capacity: int) -> KeyValues:
        """Allocate keys and values as the kernels read them: a slot's channels side by side."""
        like = self._buffers["keys"]  # (L, R, G, 1, P)
        shape = (like.shape[0], rows, like.shape[2], capacity, like.shape[4])
        if like.device.type == "cpu":  # what is not read need not be there: pages come with the first write
            return KeyValues(like.new_empty(shape), like.new_empty(shape))
        return KeyValues(like.new_zeros(shape), like.new_zeros(shape))

    def wipe(self) -> None:
        """Make what was never written zeros, which otherwise may be anything."""
        for buffer in self._buffers.values():
            buffer.zero_()

    def _view(self, bucket: Bucket) -> RowsInUse:
        buffers = {name: buffer[:, : bucket.rows] for name, buffer in self._buffers.items()}
        slots = [buffers[name][:, :, :, : bucket.slots].unbind(0) for name in ("keys", "values") if name in buffers]
        memories = [buffers[name].unbind(0) for name in ("conv", "ssm") if name in buffers]
        return RowsInUse(
            place=Place(*self._tables, self._positions[: bucket.rows], self._own[: bucket.rows]),
            own_lengths=self._own_lengths[: bucket.rows],
            slots=list(map(KeyValues, *slots)) if slots else [],
            prompts=self._shared(bucket.rows, len(buffers.get("keys", ()))),
            memories=list(map(Memory, *memories)) if memories else [],
        )

    def _shared(self, rows: int, layers: int) -> Sequence[SharedPrompts | None]:
        if self._entries is None:
            return [None] * layers
        shared = self._plan.prompts(self._entries, self._prompt_lengths, rows)
        return [shared._replace(entries=KeyValues(*parts)) for parts in zip(*self._entries, strict=True)]


def write_rows(tensor: Tensor, rows: Sequence[int], values: Tensor | Sequence[Sequence[int]]) -> None:
    """Write values (B, ...), or (1, ...) for all, over rows of a tensor (R, ...) of 32 or 64-bit numbers."""
    if tensor.is_cpu:  # by NumPy, to which little takes a fraction of what it takes PyTorch
        tensor.numpy()[rows] = values
        return
    with torch.inference_mode():
        places = torch.tensor(rows, device=tensor.device)
        tensor[places] = torch.as_tensor(values, dtype=tensor.dtype, device=tensor.device)


@torch.inference_mode()
def _repeat_row(one: Tensor, buffer: Tensor, rows: Sequence[int]) -> None:
    """Write one row's memory, (L, ...), over rows of a buffer (L, R, ...)."""
    if buffer.is_cpu:  # by slices: by indices it takes two to three times as long
        for row in rows:
            buffer[:, row] = one
    else:
        buffer[:, torch.tensor(rows, device=buffer.device)] = one[:, None]


def move_rows(tensors: Sequence[Tensor], moves: Sequence[tuple[int, int]]) -> None:
    """Copy rows of each tensor, (R, ...), over others; no row is both a source and a target."""
    device = tensors[0].device
    if device.type == "cpu":  # by slices: by indices it takes up to twenty times as long
        for tensor in tensors:
            for source, target in moves:
                tensor[target] = tensor[source]
    elif moves:
        sources, targets = torch.tensor(moves, device=device).unbind(1)
        for tensor in tensors:
            tensor[targets] = tensor[sources]
