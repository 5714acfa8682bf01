"""A student's layers beside its teacher's, for stages in which each layer learns by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from torch import Tensor, nn

from timetrial.error import UsageError
from timetrial_distillation.objectives.stage import Model, Piece
from timetrial_plugins.models.interface import Layer


def check_layers(student: Model, teacher: Model) -> None:
    """Refuse a student whose layers do not stand for the teacher's, one for one.

    Raises:
        UsageError: says what differs.
    """
    ours, theirs = student.anatomy, teacher.anatomy
    for what, its, expected in (
        ("layers", len(ours.layers), len(theirs.layers)),
        ("features", ours.embedding.embedding_dim, theirs.embedding.embedding_dim),
    ):
        if its != expected:
            raise UsageError(
                f"the student has {its} {what} and the teacher {expected}: layer by layer they can be compared only "
                "if both have the same. Train such a student end to end"
            )


def parameter_names(student: Model) -> Iterator[tuple[Layer, Mapping[str, str]]]:
    """Yield each layer with the names that its parameters have in the student, by their names in the layer."""
    names = {id(parameter): name for name, parameter in student.named_parameters()}
    for layer in student.anatomy.layers:
        yield layer, {local: names[id(parameter)] for local, parameter in cast(nn.Module, layer).named_parameters()}


def enter(student: Model, hidden: Tensor) -> Tensor:
    """Return a teacher's hidden state in the number format of the student's weights."""
    return hidden.to(student.anatomy.embedding.weight.dtype)


def piece_of_layer(index: int, loss: Tensor, scale: float) -> Piece:
    """Return a layer's loss, which is also a metric by itself."""
    value = loss.detach()
    return Piece(scale * loss, value, {f"layer_{index:02d}": value})
