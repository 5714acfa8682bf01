"""Linear maps as the kernels multiply: from weights in panels, for any number of rows.

Shapes: B rows, D input width, E output width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from timetrial_plugins.ops.native.pages import LargePages

Multiply = Callable[[Tensor, Tensor, Tensor | None, Tensor | int], Tensor]
"""`NativeKernels.multiply`."""


def laid_out(weight: Tensor, panel_outputs: int, room: LargePages) -> Tensor:
    """Return a weight (E, D) as panels of so many outputs: a copy in `room`, (panels, D, outputs); see products.c.

    In bfloat16 the weights of two inputs are next to each other: (panels, D / 2, outputs, 2).
    """
    together = 2 if weight.dtype == torch.bfloat16 else 1
    padded = functional.pad(weight, (0, -weight.shape[1] % together, 0, -weight.shape[0] % panel_outputs))
    panels = padded.view(-1, panel_outputs, padded.shape[1] // together, together).transpose(1, 2)
    return room.empty(panels.shape, panels.dtype).copy_(panels)


class NativeProduct:
    """A linear map."""

    def __init__(self, multiply: Multiply, panels: Tensor, bias: Tensor | None, shape: Sequence[int]) -> None:
        """Multiply by the panels of a weight of that shape, (E, D)."""
        self._multiply, self._panels, self._bias = multiply, panels, bias
        self._num_outputs, self._num_inputs = shape

    def __call__(self, x: Tensor, onto: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Return the outputs (..., E) of x (..., D); see `models.joint.Product`."""
        rows = x.reshape(-1, self._num_inputs)
        outputs = self._multiply(rows, self._panels, self._bias, self._num_outputs if out is None else out)
        outputs = outputs.view(*x.shape[:-1], self._num_outputs)
        return outputs if onto is None else onto.add_(outputs)
