"""Block sizes and warps by shape, and the checks that all launchers share.

Rules of thumb for a memory-bound kernel on a GPU of compute capability 8.0 or later: 16 to 64 values a thread, so that
loads in flight hide the memory's latency, and enough programs to fill about a hundred multiprocessors. They were not
tuned on a device; docs/gpu.md says what was run.
"""

from __future__ import annotations

import triton
from torch import Tensor

MULTIPROCESSORS = 128  # of the devices meant here: 108 (A100) to 148 (B200)
_VALUES_PER_THREAD = 32


def block(size: int, least: int = 1) -> int:
    """Return the block that covers `size`: the next power of two, and at least `least`."""
    return max(int(triton.next_power_of_2(size)), least)


def warps(values: int) -> int:
    """Return how many warps share a block of `values` values: a power of two from 1 to 8."""
    return min(8, max(1, int(triton.next_power_of_2(-(-values // (32 * _VALUES_PER_THREAD))))))


def splits(programs: int, length: int, least: int) -> int:
    """Return into how many parts of at least `least` a loop over `length` is cut, beside `programs` parallel ones.

    A power of two, for about two programs per multiprocessor.
    """
    wanted = min(2 * MULTIPROCESSORS // max(1, programs), length // least)
    return 1 << max(1, wanted).bit_length() - 1


def result(out: Tensor | None, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return where a kernel writes: `out`, or a new tensor of `shape` and of the type of `like`."""
    if out is None:
        return like.new_empty(shape)
    assert out.shape == shape and out.stride(-1) == 1, f"out is {tuple(out.shape)}, expected {shape}"
    return out


def check_contiguous(**tensors: Tensor | None) -> None:
    """Assert that a row of each tensor, (B, ...), is contiguous; rows may lie apart."""
    for name, tensor in tensors.items():
        assert tensor is None or tensor[0].is_contiguous(), f"rows of {name} are not contiguous"
