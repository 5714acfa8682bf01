"""Linear maps from weights that oneDNN has packed.

A decode step multiplies small matrices by all weights: packed, that is up to twice as fast as from the parameters. A
single row has a copy of its own.
Shapes: D input width, E output width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from timetrial_plugins.models.single_row import SingleRow

_ROWS_HINT = 64  # the batch the layout is chosen for; it serves all others too


class PackedProduct:
    """A linear map."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Copy a weight (E, D) of which `can_pack` is true, and a bias (E,)."""
        self._tiles = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT)
        self._single = SingleRow(weight) if weight.dtype == torch.float32 else None
        self._bias, self._num_inputs = bias, weight.shape[1]

    def __call__(self, x: Tensor, onto: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Return the outputs (..., E) of x (..., D); see `models.joint.Product`."""
        if self._single is None or x.numel() > self._num_inputs:
            outputs = self._product(x, onto)
        else:
            row = self._single(x.reshape(1, -1))
            outputs = (row if self._bias is None else row.add_(self._bias)).view(*x.shape[:-1], -1)
            outputs = outputs if onto is None else onto.add_(outputs)
        return outputs if out is None else out.copy_(outputs)

    def _product(self, x: Tensor, onto: Tensor | None) -> Tensor:
        """Return the outputs; what they are added to is read by the same operation."""
        multiply = torch.ops.mkldnn._linear_pointwise
        output: Tensor
        if onto is None:
            output = multiply.default(x, self._tiles, self._bias, "none", [], "")
        else:
            output = multiply.binary(x, onto, self._tiles, self._bias, "add")
        return output


def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether the processor multiplies packed weights of a type that lie on a device."""
    if device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    is_supported: bool = dtype == torch.float32
    if dtype == torch.bfloat16:
        is_supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return is_supported
