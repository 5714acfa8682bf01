"""What reward models need of a language model: hidden states at a few positions of many sequences.

Shapes: B sequences, S tokens that all share and that come first, T tokens of the longest after them, M positions, D
model width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from timetrial_plugins.rewards.formats.encoded import Encoded


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Sequences to read: a prefix read once, what follows it, and where scores are read."""

    prefix: Tensor  # (S,)
    tokens: Tensor  # (B, T), padded on the right: under causal mixing nothing before sees it
    rows: Tensor  # (M,)
    columns: Tensor  # (M,)


class Body(Protocol):
    """A language model without its head."""

    device: torch.device
    vocab_size: int
    context_length: int | None
    """The most tokens of a sequence; None if nothing bounds them."""
    continues: bool
    """Whether it can read on after a prefix; if not, batches have none."""

    @property
    def facts(self) -> Mapping[str, Any]:  # Any: JSON-ready
        """What it is and what runs it, for provenance."""
        ...

    def states(self, batch: Batch) -> Tensor:
        """Return the hidden states, after the last norm, at the batch's positions: (M, D), in order."""
        ...


def make_batch(solutions: Sequence[Encoded], prefix: int, device: torch.device) -> Batch:
    """Return solutions as tensors, their first `prefix` tokens apart."""
    longest = max(len(solution.tokens) for solution in solutions) - prefix
    padded = [(*solution.tokens[prefix:], *[0] * (prefix + longest - len(solution.tokens))) for solution in solutions]
    places = [(row, position - prefix) for row, solution in enumerate(solutions) for position in solution.positions]
    rows, columns = torch.tensor(places, device=device).unbind(1)
    return Batch(
        prefix=torch.tensor(solutions[0].tokens[:prefix], dtype=torch.int64, device=device),
        tokens=torch.tensor(padded, device=device),
        rows=rows,
        columns=columns,
    )
