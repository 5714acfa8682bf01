"""What stands between the norms of a layer: attention and the recurrences, as products and operations.

A mixer keeps what it needs of a module's parameters and asks the memory for what is its own.
Legend: see the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from timetrial_plugins.device.memory import RowsInUse
from timetrial_plugins.models.joint import JointLinear
from timetrial_plugins.ops.step_ops import LlambaWeights, Mamba1Weights, Mamba2Weights, StepOps

Arguments = tuple[Any, ...]  # Any: of an operation


class Mixer(Protocol):
    """The part of a layer that mixes tokens."""

    def step(self, normed: Tensor, rows: RowsInUse, ops: StepOps) -> Tensor:
        """Return what is added to the residual, (B, D), for one token per row, and write the token into the memory."""

    def operation(self, normed: Tensor, rows: RowsInUse) -> tuple[str, Arguments]:
        """Return the name of the operation that reads the memory, and its arguments: to call it, or to time it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionMixer:
    """Grouped-query attention with rotary positions."""

    layer: int
    """Among the layers with attention."""
    head_dim: int
    joint_in: JointLinear
    joint_out: JointLinear

    def step(self, normed: Tensor, rows: RowsInUse, ops: StepOps) -> Tensor:
        """Attend to each row's own slots and to its shared prompt."""
        own = rows.slots[self.layer]
        query = ops.rotate_and_store(self._heads(normed), rows.place, own)
        mixed = ops.attend(query, own, rows.own_lengths, rows.prompts[self.layer])
        return self.joint_out(mixed.flatten(1))

    def operation(self, normed: Tensor, rows: RowsInUse) -> tuple[str, Arguments]:
        """Return attention to all slots."""
        own = rows.slots[self.layer]
        query = self._heads(normed)[:, : -2 * own.keys.shape[1]]
        return "attend", (query, own, torch.full_like(rows.own_lengths, own.keys.shape[2]), None)

    def _heads(self, normed: Tensor) -> Tensor:  # (B, H + 2 G, P)
        return torch.unflatten(self.joint_in(normed), -1, (-1, self.head_dim))


@dataclass(frozen=True, kw_only=True, slots=True)
class LlambaMixer:
    """Discrete Mamba-2."""

    layer: int
    weights: LlambaWeights
    joint_in: JointLinear
    joint_out: JointLinear

    def step(self, normed: Tensor, rows: RowsInUse, ops: StepOps) -> Tensor:
        """Read one token per row."""
        _, arguments = self.operation(normed, rows)
        return self.joint_out(ops.llamba(*arguments))

    def operation(self, normed: Tensor, rows: RowsInUse) -> tuple[str, Arguments]:
        """Return what a step calls."""
        return "llamba", (self.joint_in(normed), self.weights, rows.memories[self.layer])


@dataclass(frozen=True, kw_only=True, slots=True)
class LlambaReplayMixer(LlambaMixer):
    """Discrete Mamba-2 with a state that is written every L steps."""

    def step(self, normed: Tensor, rows: RowsInUse, ops: StepOps) -> Tensor:
        """Read one token per row."""
        _, arguments = self.operation(normed, rows)
        return self.joint_out(ops.llamba_replay(*arguments))

    def operation(self, normed: Tensor, rows: RowsInUse) -> tuple[str, Arguments]:
        """Return what a step calls."""
        return "llamba_replay", (self.joint_in(normed), self.weights, *rows.replayed[self.layer])


@dataclass(frozen=True, kw_only=True, slots=True)
class Mamba1Mixer:
    """Mamba-1 in heads."""

    layer: int
    weights: Mamba1Weights
    joint_in: JointLinear
    joint_delta: JointLinear  # dt_proj without its bias
    rank: int  # of dt_proj
    joint_out: JointLinear

    def step(self, normed: Tensor, rows: RowsInUse, ops: StepOps) -> Tensor:
        """Read one token per row."""
        _, arguments = self.operation(normed, rows)
        return self.joint_out(ops.mamba1(*arguments))

    def operation(self, normed: Tensor, rows: RowsInUse) -> tuple[str, Arguments]:
        """Return what a step calls."""
        projected = self.joint_in(normed)
        delta = self.joint_delta(projected[:, -self.rank :])
        return "mamba1", (projected, delta, self.weights, rows.memories[self.layer])


@dataclass(frozen=True, kw_only=True, slots=True)
class Mamba2Mixer:
    """The hybrids' Mamba-2."""

    layer: int
    weights: Mamba2Weights
    joint_in: JointLinear
    joint_out: JointLinear

    def step(self, normed: Tensor, rows: RowsInUse, ops: StepOps) -> Tensor:
        """Read one token per row."""
        _, arguments = self.operation(normed, rows)
        return self.joint_out(ops.mamba2(*arguments))

    def operation(self, normed: Tensor, rows: RowsInUse) -> tuple[str, Arguments]:
        """Return what a step calls."""
        return "mamba2", (self.joint_in(normed), self.weights, rows.memories[self.layer])
