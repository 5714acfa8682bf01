"""Filling a student's tensors from a teacher and from what is drawn, with a record of every one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from timetrial.error import UsageError
from timetrial_plugins.models.initial import Fresh, constant
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.llama import Llama

Kind = Literal["copied", "repeated", "sliced", "drawn", "constant"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorOrigin:
    """Where a tensor of a student, or some of its rows, came from."""

    tensor: str
    """Its name in the student."""
    part: str | None = None
    """Which of its rows, by what they project to; None for all."""
    kind: Kind
    """copied bit by bit; repeated: each key/value head for the heads that share it; sliced: the first channels of each
    head, repeated where heads are shared; drawn at random; constant."""
    source: str | None = None
    """The teacher's tensor; None for what is drawn or constant."""
    shape: tuple[int, ...]


class Value(NamedTuple):
    """A value for a tensor or some of its rows, and how it came about."""

    tensor: Tensor
    kind: Kind
    source: str | None = None


class Filling:
    """A student being filled; a tensor can be put once, and none may be left over."""

    def __init__(self, student: CausalModule[Any], teacher: Llama, num_layers: int) -> None:  # Any: any family's state
        """Begin with nothing filled.

        Raises:
            UsageError: the teacher has other layers than the student's `num_layers`, or biases.
        """
        if teacher.config.num_hidden_layers != num_layers:
            raise UsageError(f"the student has {num_layers} layers, the teacher {teacher.config.num_hidden_layers}")
        if teacher.config.attention_bias or teacher.config.mlp_bias:
            raise UsageError("the teacher has biases in its attention or MLP layers, for which students have no place")
        self._sources = {name: parameter.detach() for name, parameter in teacher.named_parameters()}
        self._targets = {name: parameter.detach() for name, parameter in student.named_parameters()}
        self._origins: list[TensorOrigin] = []

    def of_teacher(self, name: str) -> Value:
        """Return a tensor of the teacher as it is."""
        return Value(self._sources[name], "copied", name)

    def head_of_teacher(self) -> Value:
        """Return the teacher's output head, which is its embedding if they are tied."""
        return self.of_teacher("lm_head.weight" if "lm_head.weight" in self._sources else "model.embed_tokens.weight")

    def heads_of_teacher(self, name: str, head_dim: int, count: int, width: int) -> Value:
        """Return the rows of a projection to heads of `head_dim` channels as `count` heads of `width` channels.

        Heads are repeated for the neighbours that share them in the teacher, and cut to their first channels.

        Raises:
            UsageError: the heads do not go together.
        """
        weight = self.of_teacher(name).tensor
        found = weight.shape[0] // head_dim
        if count % found or width > head_dim:
            raise UsageError(f"{name} has {found} heads of {head_dim}: the student's {count} of {width} do not fit it")
        heads = torch.unflatten(weight, 0, (found, head_dim))[:, :width].repeat_interleave(count // found, dim=0)
        kind: Kind = "sliced" if width < head_dim else "repeated" if count > found else "copied"
        return Value(heads.flatten(0, 1), kind, name)

    def put(self, name: str, value: Value | Fresh) -> None:
        """Fill a tensor.

        Raises:
            UsageError: the value has another shape.
        """
        self._write(name, None, self._targets.pop(name), value)

    def put_rows(self, name: str, parts: Mapping[str, Value | Fresh]) -> None:
        """Fill a tensor from top to bottom with the parts.

        Raises:
            UsageError: the parts have other rows than the tensor.
        """
        target, rows = self._targets.pop(name), [value[0].shape[0] for value in parts.values()]
        if sum(rows) != target.shape[0]:
            said = ", ".join(f"{part} {count}" for part, count in zip(parts, rows, strict=True))
            raise UsageError(f"{name} of the student has {target.shape[0]} rows; the teacher gives {said}")
        for (part, value), rows_of_part in zip(parts.items(), torch.split(target, rows), strict=True):
            self._write(name, part, rows_of_part, value)

    def put_padded(self, name: str, value: Value) -> None:
        """Fill a tensor that may have more rows than `value`; the others become zero."""
        padding = self._targets[name].shape[0] - value.tensor.shape[0]
        if padding <= 0:
            self.put(name, value)
        else:
            self.put_rows(name, {"vocabulary": value, "padding": constant((padding, value.tensor.shape[1]), 0.0)})

    def finish(self) -> tuple[TensorOrigin, ...]:
        """Return where everything came from."""
        assert not self._targets, f"nothing was put into {', '.join(self._targets)}"
        return tuple(self._origins)

    def _write(self, name: str, part: str | None, target: Tensor, value: Value | Fresh) -> None:
        source = value.source if isinstance(value, Value) else None
        tensor, kind = value[:2]
        if tensor.shape != target.shape:
            what = f"{source} gives {list(tensor.shape)}" if source else f"it would become {list(tensor.shape)}"
            raise UsageError(f"{name} of the student has shape {list(target.shape)}; {what}")
        target.copy_(tensor)
        self._origins.append(TensorOrigin(tensor=name, part=part, kind=kind, source=source, shape=tuple(target.shape)))
