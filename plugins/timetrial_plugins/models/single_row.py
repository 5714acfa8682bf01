"""A matrix laid out for products with one vector, which read every weight once and are as fast as memory.

On one thread that is fastest where the outputs of an input lie side by side. A product with a vector never runs on more
than one thread, a batch of them does: on several, the outputs are split into as many blocks.
Shapes: D input width, E output width, n threads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class SingleRow:
    """The map of a weight (E, D), from a copy laid out for the threads there are when it is made."""

    def __init__(self, weight: Tensor) -> None:
        self._num_outputs, num_inputs = weight.shape
        threads = torch.get_num_threads()
        if threads == 1:
            self._copy = weight.t().contiguous()  # (D, E)
        else:
            missing = -self._num_outputs % threads
            self._copy = functional.pad(weight, (0, 0, 0, missing)).view(threads, -1, num_inputs)  # (n, E/n, D)

    def __call__(self, x: Tensor) -> Tensor:  # (1, D) -> (1, E)
        """Return the product."""
        if self._copy.dim() == 2:
            return torch.mv(self._copy.t(), x[0])[None]
        blocks = torch.bmm(x.expand(len(self._copy), 1, -1), self._copy.transpose(1, 2))  # (n, 1, E/n)
        return blocks.view(1, -1)[:, : self._num_outputs]
