"""Linear maps of one input as one product, and copies of their weights in layouts the processor multiplies fastest.

The parameters stay where and what they are.
Shapes: D input width, E output widths put together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class Product(Protocol):
    """A linear map, from copies of its weight and bias."""

    def __call__(self, x: Tensor, onto: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Return the outputs (..., E) of x (..., D).

        Args:
            x: the inputs.
            onto: is added to the outputs, and may be overwritten.
            out: (..., E), where they are written, in its type; None: anywhere. Not together with `onto`.
        """


Products = Callable[[Tensor, Tensor | None], Product]
"""Makes the map of a weight (E, D) and a bias (E,)."""


class _Fused(NamedTuple):
    """The weights themselves, as one matrix."""

    weight: Tensor  # (E, D)
    bias: Tensor | None  # (E,)


class JointLinear:
    """The outputs of linear maps of the same input, side by side; not a module, for it owns no parameter."""

    def __init__(self, *maps: nn.Linear | nn.Embedding, rows: int | None = None, has_bias: bool = True) -> None:
        """Take the first `rows` outputs of all together, None for all; an embedding is the map to its tokens.

        All maps have a bias, or none has; without `has_bias` they are left out.
        """
        self._maps, self._rows, self._has_bias = maps, rows, has_bias
        self._packed: Product | None = None
        self._fused: _Fused | None = None

    @property
    def num_outputs(self) -> int:
        """E."""
        return self._rows or sum(one.weight.shape[0] for one in self._maps)

    def __call__(self, x: Tensor, onto: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Return the outputs, one map after the other; see `Product`."""
        if self._packed is not None and self._fused is None:
            return self._packed(x, onto, out)
        outputs = self._unpacked(x)
        if onto is not None:
            return onto.add_(outputs)
        return outputs if out is None else out.copy_(outputs)

    def _unpacked(self, x: Tensor) -> Tensor:
        if self._fused is not None:
            return functional.linear(x, *self._fused)
        parts = [functional.linear(x, one.weight, self._bias_of(one)) for one in self._maps]
        return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1))[..., : self._rows]

    def _bias_of(self, one: nn.Linear | nn.Embedding) -> Tensor | None:
        return one.bias if self._has_bias and isinstance(one, nn.Linear) else None

    def _biases(self) -> list[Tensor]:
        return [bias for one in self._maps if (bias := self._bias_of(one)) is not None]

    def apart(self, x: Tensor) -> list[Tensor]:  # (..., D) -> of each map
        """Return the outputs of each map: from one product where nothing is differentiated, if weights are packed."""
        if (self._packed is None and self._fused is None) or not torch.is_inference_mode_enabled():
            return [one(x) if self._has_bias else functional.linear(x, one.weight) for one in self._maps]
        return list(torch.split(self(x), [one.weight.shape[0] for one in self._maps], dim=-1))

    def fuse(self) -> None:
        """Move the weights next to each other: they are one matrix without a copy, and parameters become parts of it.

        Unlike `pack` it takes no memory, and serves any device.
        """
        biases = self._biases()
        bias = _moved_together(biases)[: self._rows] if biases else None
        self._fused = _Fused(_moved_together([one.weight for one in self._maps])[: self._rows], bias)

    @torch.no_grad()
    def pack(self, products: Products) -> None:
        """Multiply by what `products` makes of the weights as they are now."""
        biases = self._biases()
        weight = torch.cat([one.weight for one in self._maps])[: self._rows]
        self._packed = products(weight, torch.cat(biases)[: self._rows] if biases else None)


def _moved_together(parameters: Sequence[Tensor]) -> Tensor:
    """Return parameters one after the other along their first axis, as one tensor that they become views of."""
    if len(parameters) == 1:
        return parameters[0].detach()
    whole = torch.cat([parameter.detach() for parameter in parameters])
    sizes = [len(parameter) for parameter in parameters]
    for parameter, part in zip(parameters, torch.split(whole, sizes), strict=True):
        parameter.data = part
    return whole
