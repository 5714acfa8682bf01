"""The Llamba mixer between its projections: convolution, split, state, skip and gate in one kernel.

A program has one row and one group of heads, so that all it writes is its own, and reads and writes a state once.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from timetrial_plugins.ops.kernels.arithmetic import convolve, silu, softplus
from timetrial_plugins.ops.kernels.launch import block, check_contiguous, result, warps
from timetrial_plugins.ops.step_ops import LlambaWeights, Memory


@triton.jit
def llamba_kernel(
    projected_ptr, window_ptr, state_ptr, out_ptr, taps_ptr, bias_ptr, skip_ptr, gate_bias_ptr,
    projected_stride, out_stride, WINDOW: tl.constexpr, TAP: tl.constexpr, STATE: tl.constexpr,
    HEADS: tl.constexpr, GROUPS: tl.constexpr, P: tl.constexpr, N: tl.constexpr, TAPS: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_GATE_BIAS: tl.constexpr,
):  # fmt: skip
    """Step the heads of one group of one row; the grid is (rows, groups)."""
    row, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    projected_ptr += row * projected_stride
    memory = (window_ptr + row * WINDOW[0], taps_ptr, bias_ptr)
    inner, channels = HEADS * P, HEADS * P + 2 * GROUPS * N
    n, p = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
    is_n, is_p = n < N, p < P
    b_channel, c_channel = inner + group * N + n, inner + (GROUPS + group) * N + n
    b = convolve(projected_ptr + b_channel, memory, b_channel, is_n, WINDOW, TAP, TAPS, HAS_BIAS).to(tl.float32)
    c = convolve(projected_ptr + c_channel, memory, c_channel, is_n, WINDOW, TAP, TAPS, HAS_BIAS).to(tl.float32)
    for index in range(HEADS // GROUPS):
        head = group * (HEADS // GROUPS) + index
        channel = head * P + p
        x = convolve(projected_ptr + channel, memory, channel, is_p, WINDOW, TAP, TAPS, HAS_BIAS).to(tl.float32)
        decay = tl.exp(-softplus(tl.load(projected_ptr + channels + inner + head).to(tl.float32)))
        head_ptr = state_ptr + row * STATE[0] + head * STATE[1]
        cells = head_ptr + p[:, None] * STATE[2] + n[None, :] * STATE[3]
        is_cell = is_p[:, None] & is_n[None, :]
        state = tl.load(cells, mask=is_cell, other=0.0).to(tl.float32) * decay + x[:, None] * b[None, :]
        tl.store(cells, state.to(state_ptr.dtype.element_ty), mask=is_cell)
        y = tl.sum(state * c[None, :], axis=1) + tl.load(skip_ptr + head).to(tl.float32) * x
        gate = tl.load(projected_ptr + channels + channel, mask=is_p, other=0.0)
        opened = gated(y, gate, gate_bias_ptr, channel, is_p, HAS_GATE_BIAS)
        tl.store(out_ptr + row * out_stride + channel, opened, mask=is_p)


@triton.jit
def gated(y, gate, gate_bias_ptr, channels, is_there, HAS_GATE_BIAS: tl.constexpr):
    """Return y * silu(gate + bias), rounded like the reference to the type of `gate` after every operation."""
    if HAS_GATE_BIAS:
        bias = tl.load(gate_bias_ptr + channels, mask=is_there, other=0.0)
        gate = (gate.to(tl.float32) + bias.to(tl.float32)).to(gate.dtype)
    share = silu(gate.to(tl.float32)).to(gate.dtype).to(tl.float32)
    return (y.to(gate.dtype).to(tl.float32) * share).to(gate.dtype)


def llamba(projected: Tensor, weights: LlambaWeights, memory: Memory, out: Tensor | None = None) -> Tensor:
    """Do a discrete Mamba-2 step; see `LlambaStep`."""
    rows, heads, width, size = memory.state.shape
    taps, bias = weights.convolution
    groups = (taps.shape[0] - heads * width) // (2 * size)
    out = result(out, projected, (rows, heads * width))
    check_contiguous(projected=projected)
    llamba_kernel[(rows, groups)](
        projected, memory.window, memory.state, out, taps, bias, weights.skip, weights.gate_bias,
        projected.stride(0), out.stride(0),
        WINDOW=memory.window.stride(), TAP=taps.stride(), STATE=memory.state.stride(),
        HEADS=heads, GROUPS=groups, P=width, N=size, TAPS=taps.shape[1], BLOCK_P=block(width), BLOCK_N=block(size),
        HAS_BIAS=bias is not None, HAS_GATE_BIAS=weights.gate_bias is not None,
        num_warps=warps(block(width) * block(size)),
    )  # fmt: skip
    return out
