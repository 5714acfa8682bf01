"""MOHAWK's first stage: each layer's mixing matrix is turned towards the teacher's attention matrix.

    loss = sum over layers of the mean over rows of the batch and heads of | M_l(h_l) - A_l |    (see `matrices`)

h_l is what enters the teacher's layer, behind the student's own norm. What M does not depend on (x, the gate, out_proj,
MLP) is not trained, and neither is the norm, unless asked for.
Reference: arXiv 2408.10189, section 4.1.
Shapes: B rows, T tokens, H query heads, K key heads, P channels per head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from timetrial.error import UsageError
from timetrial_distillation.data.rows import Rows
from timetrial_distillation.objectives.layers import check_layers, enter, parameter_names, piece_of_layer
from timetrial_distillation.objectives.matrices import BLOCK_SIZE, QueriesKeys, matrix_distance
from timetrial_distillation.objectives.places import learned_documents
from timetrial_distillation.objectives.stage import WHOLE, Model, Piece, StageObjective, TrainedRows
from timetrial_distillation.objectives.teacher import Passage, freeze, passages
from timetrial_plugins.models.attention import SequenceView
from timetrial_plugins.models.interface import Layer
from timetrial_plugins.models.layers import rotate
from timetrial_plugins.models.llama import Llama, LlamaLayer
from timetrial_plugins.models.scan.ssd import Mixing

_NORM = "input_layernorm.weight"


@runtime_checkable
class MixingLayer(Protocol):
    """A layer that replaced attention."""

    @property
    def mixing_rows(self) -> Mapping[str, tuple[slice, ...]]:
        """The parameters that `mixing` depends on, and which rows; none if no matrix per head exists."""
        ...

    def mixing(self, hidden: Tensor, view: Any, /) -> Mixing:  # Any: each family has its own
        """Return what decides the matrix."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MatrixOrientation(StageObjective):
    """Mixing matrices, one layer's loss after the other; a unit is a row of the batch."""

    teacher: Llama
    """Frozen here."""
    trains_norm: bool = False
    """Whether the norms in front of the mixers learn too."""
    block_size: int = BLOCK_SIZE
    """Rows of the matrices that exist at a time."""
    name: str = "matrix-orientation"

    def __post_init__(self) -> None:
        """Freeze the teacher.

        Raises:
            UsageError: it is no Llama, or the block size is no size.
        """
        if not isinstance(self.teacher, Llama):
            raise UsageError(
                f"the teacher is a {type(self.teacher).__name__}; matrices are compared with the attention of a Llama"
            )
        if self.block_size < 1:
            raise UsageError(f"block_size is {self.block_size}; expected a positive number")
        freeze(self.teacher)

    @property
    def forward_methods(self) -> tuple[str, ...]:
        """Layers are asked for their matrices only."""
        return ("mixing",)

    def trained(self, student: Model) -> TrainedRows:
        """Return what the matrices depend on: B, C and decay, in projections and convolutions by rows, and D."""
        check_layers(student, self.teacher)
        trained: dict[str, tuple[slice, ...]] = {}
        for layer, names in parameter_names(student):
            if not isinstance(layer, MixingLayer):
                continue  # it kept its attention
            if not layer.mixing_rows:
                raise UsageError(
                    f"the mixers of this {type(student).__name__} have a decay for each channel, so no matrix per "
                    "head that could be turned towards attention. Begin with hidden states, or train end to end"
                )
            trained |= {names[local]: rows for local, rows in layer.mixing_rows.items()}
            trained |= {names[_NORM]: WHOLE} if self.trains_norm else {}
        if not trained:
            raise UsageError(f"this {type(student).__name__} has no layer that mixes tokens by a matrix but attention")
        return trained

    def count(self, rows: Rows) -> int:
        """Return the number of rows of the batch."""
        return rows.tokens.shape[0]

    def losses(self, student: Model, rows: Rows, scale: float) -> Iterator[Piece]:
        """Yield the loss of every layer that replaced attention."""
        counts, view = learned_documents(rows), student.view(rows.tokens, rows.doc_ids)
        with torch.no_grad():
            its_view = self.teacher.view(rows.tokens, rows.doc_ids)
        its_passages = passages(self.teacher, rows, _query_projection)
        for index, (layer, passage) in enumerate(zip(student.anatomy.layers, its_passages, strict=True)):
            if not isinstance(layer, MixingLayer):
                continue
            mixing = layer.mixing(enter(student, passage.entering), view)
            attention = _attention(passage, its_view)
            _check_heads(index, mixing, attention)
            distances = matrix_distance(mixing, attention, rows.doc_ids, counts, self.block_size)  # (B, H)
            yield piece_of_layer(index, distances.mean(1).sum(), scale)


def _query_projection(layer: Layer) -> nn.Module:
    assert isinstance(layer, LlamaLayer)
    return layer.self_attn.q_proj


def _attention(passage: Passage, view: SequenceView) -> QueriesKeys:
    key, projected = passage.memory.keys, passage.tapped  # (B, K, T, P), (B, T, H P)
    assert projected is not None
    query = torch.unflatten(projected, -1, (-1, key.shape[-1]))
    return QueriesKeys(rotate(query, view.tables).transpose(1, 2), key)


def _check_heads(index: int, mixing: Mixing, attention: QueriesKeys) -> None:
    its, expected = mixing.log_decay.shape[-1], attention.query.shape[1]
    if its != expected:
        raise UsageError(
            f"layer {index} of the student has {its} heads and the teacher's attention {expected}: their matrices can "
            "be compared only head by head. Make a student with as many heads"
        )
