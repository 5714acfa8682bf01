"""Residual and norm in one kernel, and the gated product inside the MLP in another."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from timetrial_plugins.ops.kernels.arithmetic import silu
from timetrial_plugins.ops.kernels.launch import block, check_contiguous, result, warps
from timetrial_plugins.ops.step_ops import NormWeights

_PRODUCT_BLOCK = 1024


@triton.jit
def add_norm_kernel(
    hidden_ptr, added_ptr, weight_ptr, out_ptr, hidden_stride, added_stride, out_stride, epsilon,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, HAS_ADDED: tl.constexpr, SCALES_FIRST: tl.constexpr,
):  # fmt: skip
    """Add to one row and normalise it; the grid is (rows,)."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    is_there = column < WIDTH
    hidden = tl.load(hidden_ptr + row * hidden_stride + column, mask=is_there, other=0.0)
    weight = tl.load(weight_ptr + column, mask=is_there, other=0.0)
    if HAS_ADDED:
        added = tl.load(added_ptr + row * added_stride + column, mask=is_there, other=0.0)
        hidden = (hidden.to(tl.float32) + added.to(tl.float32)).to(hidden.dtype)
        tl.store(hidden_ptr + row * hidden_stride + column, hidden, mask=is_there)
    wide = hidden.to(tl.float32)
    normed = wide * tl.rsqrt(tl.sum(wide * wide, axis=0) / WIDTH + epsilon)
    if not SCALES_FIRST:
        normed = normed.to(hidden.dtype).to(tl.float32)
    normed = (normed * weight.to(tl.float32)).to(hidden.dtype)
    tl.store(out_ptr + row * out_stride + column, normed, mask=is_there)


@triton.jit
def gated_product_kernel(input_ptr, out_ptr, input_stride, out_stride, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Multiply a run of one row; the grid is (rows, runs)."""
    row, column = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_there = column < WIDTH
    input_ptr += row * input_stride
    gate = tl.load(input_ptr + column, mask=is_there, other=0.0)
    up = tl.load(input_ptr + WIDTH + column, mask=is_there, other=0.0)
    opened = silu(gate.to(tl.float32)).to(gate.dtype).to(tl.float32)
    tl.store(out_ptr + row * out_stride + column, (opened * up.to(tl.float32)).to(gate.dtype), mask=is_there)


def add_norm(hidden: Tensor, added: Tensor | None, weights: NormWeights, out: Tensor | None = None) -> Tensor:
    """Add to the residual in place and return its norm; see `AddNorm`."""
    rows, width = hidden.shape
    out = result(out, hidden, (rows, width))
    check_contiguous(hidden=hidden, added=added)
    add_norm_kernel[(rows,)](
        hidden, added, weights.weight, out,
        hidden.stride(0), 0 if added is None else added.stride(0), out.stride(0), weights.epsilon,
        WIDTH=width, BLOCK=block(width), HAS_ADDED=added is not None, SCALES_FIRST=weights.scales_first,
        num_warps=warps(4 * block(width)),
    )  # fmt: skip
    return out


def gated_product(gate_and_up: Tensor, out: Tensor | None = None) -> Tensor:
    """Return silu(gate) * up; see `GatedProduct`."""
    rows, width = gate_and_up.shape[0], gate_and_up.shape[1] // 2
    out = result(out, gate_and_up, (rows, width))
    check_contiguous(gate_and_up=gate_and_up)
    gated_product_kernel[(rows, triton.cdiv(width, _PRODUCT_BLOCK))](
        gate_and_up, out, gate_and_up.stride(0), out.stride(0), WIDTH=width, BLOCK=_PRODUCT_BLOCK, num_warps=4
    )
    return out
