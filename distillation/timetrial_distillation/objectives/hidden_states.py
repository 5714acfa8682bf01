"""MOHAWK's second stage: each student layer, given what enters the teacher's, is to return what leaves it.

    loss = sum over layers of the mean over tokens of | student_l(h_l) - h_(l+1) |

with the Euclidean norm over features, not squared. Layers learn apart from each other. Of the last layer too the target
stands before the final norm. The cheap variant compares what the mixers add instead (as RADLADS does, arXiv
2505.03005, with a factor D^-0.5 more).
Reference: arXiv 2408.10189, section 4.2.
Shapes: B rows, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from timetrial.error import UsageError
from timetrial_distillation.data.rows import Rows
from timetrial_distillation.objectives.layers import check_layers, enter, parameter_names, piece_of_layer
from timetrial_distillation.objectives.places import learned_documents
from timetrial_distillation.objectives.stage import WHOLE, Model, Piece, StageObjective, TrainedRows
from timetrial_distillation.objectives.teacher import freeze, passages
from timetrial_plugins.models.interface import Layer
from timetrial_plugins.models.llama import Llama, LlamaLayer
from timetrial_plugins.models.scan.precision import widen

_BEHIND_MIXER = ("post_attention_layernorm.", "mlp.")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HiddenStateAlignment(StageObjective):
    """Layer outputs, one layer's loss after the other; a unit is a token of a document that has labels."""

    teacher: Model
    """Frozen here; for "mixers" a Llama."""
    compare: Literal["layers", "mixers"] = "layers"
    """"mixers": what the mixer adds to the layer's input; then MLPs and the norms before them are not trained."""
    gap: int = 1
    """Layers that are chained before they are compared; a divisor of their number. 1 with "mixers"."""
    name: str = "hidden-states"

    def __post_init__(self) -> None:
        """Freeze the teacher.

        Raises:
            UsageError: the options do not go together.
        """
        num_layers = len(self.teacher.anatomy.layers)
        if self.gap < 1 or num_layers % self.gap:
            raise UsageError(f"gap is {self.gap}; expected a divisor of the number of layers, {num_layers}")
        if self.compare == "mixers" and self.gap != 1:
            raise UsageError(f"gap is {self.gap}; mixers are compared one by one, so it can only be 1")
        if self.compare == "mixers" and not isinstance(self.teacher, Llama):
            raise UsageError(
                f"mixers are compared with a Llama's attention; the teacher is a {type(self.teacher).__name__}"
            )
        freeze(self.teacher)

    @property
    def forward_methods(self) -> tuple[str, ...]:
        """Mixers are called without their layers."""
        return ("mix",) if self.compare == "mixers" else ()

    def trained(self, student: Model) -> TrainedRows:
        """Return the parameters of all layers; with "mixers" those of the mixers and of the norms before them."""
        check_layers(student, self.teacher)
        left_out = _BEHIND_MIXER if self.compare == "mixers" else ()
        names = [
            name
            for _, of_layer in parameter_names(student)
            for local, name in of_layer.items()
            if not local.startswith(left_out)
        ]
        return dict.fromkeys(names, WHOLE)

    def count(self, rows: Rows) -> int:
        """Return the number of tokens that count."""
        return int(learned_documents(rows).sum())

    def losses(self, student: Model, rows: Rows, scale: float) -> Iterator[Piece]:
        """Yield the loss of every layer, or of every chain of `gap` layers under its last one's number."""
        counts, view = learned_documents(rows), student.view(rows.tokens, rows.doc_ids)
        is_mixers = self.compare == "mixers"
        hidden: Tensor | None = None
        its_passages = passages(self.teacher, rows, _attention_output if is_mixers else None)
        for index, (layer, passage) in enumerate(zip(student.anatomy.layers, its_passages, strict=True)):
            if hidden is None:
                hidden = enter(student, passage.entering)
            hidden, _ = layer.mix(hidden, view) if is_mixers else layer(hidden, view)
            if (index + 1) % self.gap:
                continue
            target = passage.tapped if is_mixers else passage.leaving
            assert target is not None
            distances = torch.linalg.vector_norm(widen(hidden) - widen(target), dim=-1)  # (B, T)
            yield piece_of_layer(index, distances[counts].sum(), scale)
            hidden = None


def _attention_output(layer: Layer) -> nn.Module:
    assert isinstance(layer, LlamaLayer)
    return layer.self_attn.o_proj
