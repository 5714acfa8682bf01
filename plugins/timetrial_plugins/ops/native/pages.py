"""Memory in large pages: a processor looks fewer of them up while it reads all weights once a step.

A page is so large that matrices have to share pages, so room for them is cut from blocks.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

_PAGE = 1 << 21  # bytes; what Linux on x86-64 and, as a rule, on ARM calls huge
_BLOCK = 16 * _PAGE  # is only taken from the system as far as it is written
_LINE = 64


class LargePages:
    """Hands out room for tensors that stay; a block is given back when none of its tensors is left."""

    def __init__(self) -> None:
        """Begin with no block."""
        self._block = torch.empty(0, dtype=torch.uint8)
        self._used = 0

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return room for a tensor, with whatever is there; in pages as usual where the system has no large ones."""
        count = dtype.itemsize * torch.Size(shape).numel()
        if self._used + count > len(self._block):
            self._block, self._used = _block(max(count, _BLOCK)), 0
        room = self._block[self._used : self._used + count]
        self._used += -(-count // _LINE) * _LINE
        return room.view(dtype).view(*shape)


def _block(count: int) -> Tensor:
    """Return at least so many bytes, from the beginning of a large page on."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):  # not Linux
        return torch.empty(count, dtype=torch.uint8)
    mapping = mmap.mmap(-1, count + _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        mapping.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a kernel built without them
        pass
    block = torch.frombuffer(mapping, dtype=torch.uint8)
    begin = -block.data_ptr() % _PAGE
    return block[begin : begin + count]
