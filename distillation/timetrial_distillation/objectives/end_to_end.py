"""The end-to-end stages: MOHAWK's third, MambaInLlama's only one, and fine-tuning. They differ in numbers.

References: arXiv 2408.10189 (MOHAWK), 2408.15237 (MambaInLlama), 2502.20339, section 3 (which places count).
Shapes: B rows, T tokens, N places, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from timetrial.error import UsageError
from timetrial_distillation.data.rows import IGNORED, Rows
from timetrial_distillation.objectives.chunked import CHUNK_SIZE, ChunkPlan, chunked_loss
from timetrial_distillation.objectives.heads import project, shared_vocabulary
from timetrial_distillation.objectives.places import all_labels
from timetrial_distillation.objectives.stage import WHOLE, Model, Piece, StageObjective, TrainedRows
from timetrial_distillation.objectives.teacher import encode, freeze
from timetrial_distillation.objectives.token_loss import TokenLoss

_MIXERS = (".mixer.", ".mamba.")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EndToEnd(StageObjective):
    """The token loss on the outputs of whole models; a unit is a place at which something is learned."""

    teacher: Model | None = None
    """Frozen here; None for fine-tuning."""
    token_loss: TokenLoss = field(default_factory=TokenLoss)
    places: Literal["labels", "all"] = "labels"
    """"labels": where the rows have labels, for MambaInLlama the assistant's tokens; "all": prompts too, as the
    paper has it for Llamba."""
    trains: Literal["all", "mixers"] = "all"
    """"mixers": only what replaced attention, as in MambaInLlama's older stepwise training."""
    vocab_size: int | None = None
    """Tokens of the tokenizer, if a model counts padding among its own; None: what both models say."""
    chunk_size: int = CHUNK_SIZE
    checkpointing: bool = False
    """Compute each layer of the student again in the backward pass instead of keeping its inside."""
    name: str = "end-to-end"

    def __post_init__(self) -> None:
        """Freeze the teacher.

        Raises:
            UsageError: the loss needs a teacher and there is none, or the other way round.
        """
        if self.token_loss.needs_teacher != (self.teacher is not None):
            needed = "needs a teacher" if self.teacher is None else "uses no teacher"
            raise UsageError(f"a token loss with kl_weight {self.token_loss.kl_weight} {needed}")
        if self.chunk_size < 1:
            raise UsageError(f"chunk_size is {self.chunk_size}; expected a positive number")
        if self.teacher is not None:
            freeze(self.teacher)

    def trained(self, student: Model) -> TrainedRows:
        """Return all parameters, or those of the mixers that replaced attention."""
        shared_vocabulary(student, self.teacher, self.vocab_size)
        names = [name for name, _ in student.named_parameters()]
        if self.trains == "mixers":
            names = [name for name in names if any(mixer in name for mixer in _MIXERS)]
            if not names:
                raise UsageError(f"a {type(student).__name__} has no Mamba layers, so there are no mixers to train")
        return dict.fromkeys(names, WHOLE)

    def count(self, rows: Rows) -> int:
        """Return the number of places that count."""
        return int((self._labels(rows) != IGNORED).sum())

    def losses(self, student: Model, rows: Rows, scale: float) -> Iterator[Piece]:
        """Yield the one loss. Its parts, where it is a mixture, are the metrics."""
        labels = self._labels(rows)
        counts = labels != IGNORED  # (B, T)
        with torch.no_grad():
            target = None if self.teacher is None else project(self.teacher, encode(self.teacher, rows)[counts])
        hidden = encode(student, rows, checkpointing=self.checkpointing)
        sums = chunked_loss(
            project(student, hidden[counts]),
            target,
            labels[counts],
            ChunkPlan(self.token_loss, shared_vocabulary(student, self.teacher, self.vocab_size), self.chunk_size),
            scale,
        )
        parts = {"divergence": sums.divergence, "cross_entropy": sums.cross_entropy}
        is_mixture = self.token_loss.needs_teacher and self.token_loss.needs_labels
        yield Piece(sums.loss, self.token_loss.weigh(**parts), parts if is_mixture else {})

    def _labels(self, rows: Rows) -> Tensor:  # (B, T)
        return rows.labels if self.places == "labels" else all_labels(rows)
