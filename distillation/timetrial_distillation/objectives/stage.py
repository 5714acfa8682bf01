"""What every stage of distillation offers the training loop, whatever it learns.

A stage gives its loss in pieces, one after the other; each is backpropagated before the next is computed, so a stage
that looks at one layer at a time never holds two layers' graphs. A stage that has one loss gives one piece.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timetrial_distillation.data.rows import Rows
from timetrial_plugins.models.interface import CausalModule

Model = CausalModule[Any]  # Any: each family has a decode state of its own, and training uses none
TrainedRows = Mapping[str, tuple[slice, ...]]
"""The parameters that are trained, by name, and which rows (of their first axis) are."""
WHOLE = (slice(None),)
"""All rows."""


class Piece(NamedTuple):
    """A part of the loss."""

    scaled: Tensor
    """() times `scale`, with its graph."""
    value: Tensor
    """() without `scale`, detached: a sum over the units that `count` counts."""
    metrics: Mapping[str, Tensor]
    """More such sums."""


class LossParts(NamedTuple):
    """What a stage says of some rows. All are sums over the units that `count` counts, on the device, detached."""

    loss_sum: Tensor
    metrics: Mapping[str, Tensor]
    """To be added up over rows, and divided by the same count."""


class StageObjective(ABC):
    """What is learned in one stage. It owns the teacher, which is frozen."""

    name: str
    """Of the stage, for logs and lineage."""

    @property
    def forward_methods(self) -> tuple[str, ...]:
        """Methods of the student's layers that are called instead of the layers themselves.

        FSDP2 has to be told, by `register_fsdp_forward_method`, or it does not gather the layers' weights.
        """
        return ()

    @abstractmethod
    def trained(self, student: Model) -> TrainedRows:
        """Return what is trained; everything else keeps its value.

        Raises:
            UsageError: this stage cannot train such a student.
        """

    @abstractmethod
    def count(self, rows: Rows) -> int:
        """Return how many units the loss of these rows is a sum over: their share of a step's denominator."""

    @abstractmethod
    def losses(self, student: Model, rows: Rows, scale: float) -> Iterator[Piece]:
        """Yield the pieces of the loss. Each is backpropagated, where gradients are on, before the next is asked for.

        Rows without a single unit give pieces that are 0 with gradients that are 0.
        """

    def backward(self, student: Model, rows: Rows, scale: float) -> LossParts:
        """Add the gradients of `scale` times the summed loss to the student's, piece by piece.

        With `scale` R / (the count of all rows of a step), R being the ranks whose gradients are averaged, the step's
        gradient is that of the mean over units, however its rows are split into micro-batches and ranks.
        """
        return self._run(student, rows, scale)

    def measure(self, student: Model, rows: Rows) -> LossParts:
        """Return the same sums without gradients."""
        with torch.no_grad():
            return self._run(student, rows, 1.0)

    def _run(self, student: Model, rows: Rows, scale: float) -> LossParts:
        total: Tensor | None = None
        metrics: dict[str, Tensor] = {}
        for piece in self.losses(student, rows, scale):
            if torch.is_grad_enabled():
                piece.scaled.backward()  # type: ignore[no-untyped-call]  # torch
            total = piece.value if total is None else total + piece.value
            metrics |= piece.metrics
        assert total is not None, "a stage without a loss"
        return LossParts(total, metrics)
