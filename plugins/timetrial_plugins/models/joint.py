"""Linear maps of one input as one product, and a copy of their weights in the layout the processor multiplies fastest.

The parameters stay where and what they are. A decode step multiplies small matrices by all weights; packed by oneDNN,
that is up to twice as fast as from the parameters, and a row's result does not depend on the batch.
Shapes: D input width, E output widths put together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_ROWS_HINT = 64  # the batch the layout is chosen for; it serves all others too


class JointLinear:
    """The outputs of linear maps of the same input, side by side; not a module, for it owns no parameter."""

    def __init__(self, *maps: nn.Linear | nn.Embedding, rows: int | None = None) -> None:
        """Take the first `rows` outputs of all together, None for all; an embedding is the map to its tokens.

        All maps have a bias, or none has.
        """
        self._maps, self._rows = maps, rows
        self._packed: tuple[Tensor, Tensor | None] | None = None

    def __call__(self, x: Tensor) -> Tensor:  # (..., D) -> (..., E)
        """Return the outputs, one map after the other."""
        if self._packed is None:
            parts = [functional.linear(x, one.weight, getattr(one, "bias", None)) for one in self._maps]
            return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1))[..., : self._rows]
        weight, bias = self._packed
        output: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return output

    def pack(self) -> bool:
        """Copy the weights as they are now into the packed layout, if there is one for them; return whether."""
        weight = torch.cat([one.weight.detach() for one in self._maps])[: self._rows]
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch._C._has_mkldnn:
            return False
        biases: list[Tensor] = [one.bias for one in self._maps if isinstance(one, nn.Linear) and one.bias is not None]
        bias = torch.cat(biases)[: self._rows].detach() if biases else None
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT), bias
        return True
