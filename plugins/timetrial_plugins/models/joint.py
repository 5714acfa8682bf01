"""Linear maps of one input as one product, and copies of their weights in layouts the processor multiplies fastest.

The parameters stay where and what they are. A decode step multiplies small matrices by all weights: packed by oneDNN,
that is up to twice as fast as from the parameters. A single row has a copy of its own.
Shapes: D input width, E output widths put together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from timetrial_plugins.models.single_row import SingleRow

_ROWS_HINT = 64  # the batch the layout is chosen for; it serves all others too


class RowProduct(Protocol):
    """The map of a weight (E, D) for few rows, from a copy of its own."""

    @property
    def most_rows(self) -> int:
        """Of an input: with more, packed weights are faster."""

    @property
    def num_inputs(self) -> int:
        """D."""

    def __call__(self, x: Tensor) -> Tensor:  # (B, D) -> (B, E)
        """Return the product."""


RowProducts = Callable[[Tensor], RowProduct]
"""Makes the map of a weight (E, D), which is not changed afterwards."""


class _Packed(NamedTuple):
    """Copies of the weights."""

    tiles: Tensor  # (E, D), opaque
    single: RowProduct | None  # None where a single row is multiplied by the tiles too
    bias: Tensor | None  # (E,)


class _Fused(NamedTuple):
    """The weights themselves, as one matrix."""

    weight: Tensor  # (E, D)
    bias: Tensor | None  # (E,)


class JointLinear:
    """The outputs of linear maps of the same input, side by side; not a module, for it owns no parameter."""

    def __init__(self, *maps: nn.Linear | nn.Embedding, rows: int | None = None) -> None:
        """Take the first `rows` outputs of all together, None for all; an embedding is the map to its tokens.

        All maps have a bias, or none has.
        """
        self._maps, self._rows = maps, rows
        self._packed: _Packed | None = None
        self._fused: _Fused | None = None

    @property
    def num_outputs(self) -> int:
        """E."""
        return self._rows or sum(one.weight.shape[0] for one in self._maps)

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:  # (..., D), (..., E) -> (..., E)
        """Return the outputs, one map after the other; with `onto`, which may be overwritten, their sum with it."""
        if self._packed is None or self._fused is not None:
            outputs = self._unpacked(x)
        else:
            tiles, single, bias = self._packed
            if single is None or x.numel() > single.most_rows * single.num_inputs:
                return _product(x, onto, tiles, bias)
            rows = single(x.reshape(-1, single.num_inputs))
            outputs = (rows if bias is None else rows.add_(bias)).view(*x.shape[:-1], -1)
        return outputs if onto is None else onto.add_(outputs)

    def _unpacked(self, x: Tensor) -> Tensor:
        if self._fused is not None:
            return functional.linear(x, *self._fused)
        parts = [functional.linear(x, one.weight, getattr(one, "bias", None)) for one in self._maps]
        return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1))[..., : self._rows]

    def apart(self, x: Tensor) -> list[Tensor]:  # (..., D) -> of each map
        """Return the outputs of each map: from one product where nothing is differentiated, if weights are packed."""
        if (self._packed is None and self._fused is None) or not torch.is_inference_mode_enabled():
            return [one(x) for one in self._maps]
        return list(torch.split(self(x), [one.weight.shape[0] for one in self._maps], dim=-1))

    def fuse(self) -> None:
        """Move the weights next to each other: they are one matrix without a copy, and parameters become parts of it.

        Unlike `pack` it takes no memory, and serves any device.
        """
        weights, biases = [one.weight for one in self._maps], [getattr(one, "bias", None) for one in self._maps]
        together = [bias for bias in biases if bias is not None]
        bias = _moved_together(together)[: self._rows] if together else None
        self._fused = _Fused(_moved_together(weights)[: self._rows], bias)

    def pack(self, row_products: RowProducts = SingleRow) -> bool:
        """Copy the weights as they are now into the packed layouts, if there are some for them; return whether.

        Few rows in float32 are multiplied by what `row_products` makes.
        """
        weight = torch.cat([one.weight.detach() for one in self._maps])[: self._rows]
        if not can_pack(weight):
            return False
        biases: list[Tensor] = [one.bias for one in self._maps if isinstance(one, nn.Linear) and one.bias is not None]
        bias = torch.cat(biases)[: self._rows].detach() if biases else None
        single = row_products(weight) if weight.dtype == torch.float32 else None
        self._packed = _Packed(torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT), single, bias)
        return True


def _product(x: Tensor, onto: Tensor | None, tiles: Tensor, bias: Tensor | None) -> Tensor:
    """Return the outputs of packed weights; what they are added to is read by the same operation."""
    multiply = torch.ops.mkldnn._linear_pointwise
    output: Tensor
    if onto is None:
        output = multiply.default(x, tiles, bias, "none", [], "")
    else:
        output = multiply.binary(x, onto, tiles, bias, "add")
    return output


def _moved_together(parameters: Sequence[Tensor]) -> Tensor:
    """Return parameters one after the other along their first axis, as one tensor that they become views of."""
    if len(parameters) == 1:
        return parameters[0].detach()
    whole = torch.cat([parameter.detach() for parameter in parameters])
    sizes = [len(parameter) for parameter in parameters]
    for parameter, part in zip(parameters, torch.split(whole, sizes), strict=True):
        parameter.data = part
    return whole


def can_pack(weight: Tensor) -> bool:
    """Return whether the processor multiplies packed weights of this kind."""
    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    is_supported: bool = weight.dtype == torch.float32
    if weight.dtype == torch.bfloat16:
        is_supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return is_supported
