"""Rotary positions, and keys and values on their way to the memory, in one kernel."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.kernels.launch import block
from timetrial_plugins.ops.step_ops import Place


@triton.jit
def rotation_kernel(
    heads_ptr, cos_ptr, sin_ptr, positions_ptr, slots_ptr, keys_ptr, values_ptr,
    heads_stride, row_stride, head_stride, slot_stride,
    QUERIES: tl.constexpr, GROUPS: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Handle one head of one row, of queries, keys or values; the grid is (rows, heads of all three)."""
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    half = tl.arange(0, BLOCK)
    is_there = half < P // 2
    heads_ptr += row * heads_stride + head * P
    first = tl.load(heads_ptr + half, mask=is_there, other=0.0)
    second = tl.load(heads_ptr + P // 2 + half, mask=is_there, other=0.0)
    slot = tl.load(slots_ptr + row)
    if head < QUERIES + GROUPS:
        angles = tl.load(positions_ptr + row) * (P // 2) + half
        cos = tl.load(cos_ptr + angles, mask=is_there, other=0.0)
        sin = tl.load(sin_ptr + angles, mask=is_there, other=0.0)
        wide_first, wide_second = first.to(tl.float32), second.to(tl.float32)
        first = (wide_first * cos - wide_second * sin).to(first.dtype)
        second = (wide_second * cos + wide_first * sin).to(second.dtype)
        # Threads may hold the same values, so none may write before all have read.
        tl.debug_barrier()
        tl.store(heads_ptr + half, first, mask=is_there)
        tl.store(heads_ptr + P // 2 + half, second, mask=is_there)
    if head >= QUERIES:
        group = (head - QUERIES) % GROUPS
        entries_ptr = keys_ptr if head < QUERIES + GROUPS else values_ptr
        entries_ptr += row * row_stride + group * head_stride + slot * slot_stride
        tl.store(entries_ptr + half, first.to(entries_ptr.dtype.element_ty), mask=is_there)
        tl.store(entries_ptr + P // 2 + half, second.to(entries_ptr.dtype.element_ty), mask=is_there)


def rotate_and_store(heads: Tensor, place: Place, own: KeyValues) -> Tensor:
    """Turn queries and keys by their positions and store keys and values; see `RotateAndStore`."""
    rows, num_heads, width = heads.shape
    groups = own.keys.shape[1]
    assert heads.stride()[1:] == (width, 1), "the heads of a row are not contiguous"
    assert own.keys.stride() == own.values.stride() and own.keys.stride(3) == 1, "keys and values are laid out apart"
    rotation_kernel[(rows, num_heads)](
        heads, place.cos, place.sin, place.positions, place.slots, own.keys, own.values,
        heads.stride(0), *own.keys.stride()[:3],
        QUERIES=num_heads - 2 * groups, GROUPS=groups, P=width, BLOCK=block(width // 2), num_warps=1,
    )  # fmt: skip
    return heads[:, : num_heads - 2 * groups]
