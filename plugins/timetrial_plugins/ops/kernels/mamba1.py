"""The Mamba-1 mixer of the hybrids between its projections: convolution, state, skip and gate in one kernel.

A program has one row and a run of channels, several heads of 16. Nothing that it writes is read by another.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from timetrial_plugins.ops.kernels.arithmetic import convolve, silu, softplus
from timetrial_plugins.ops.kernels.launch import MULTIPROCESSORS, block, check_contiguous, result, warps
from timetrial_plugins.ops.step_ops import Mamba1Weights, Memory

_FEW_CHANNELS, _MANY_CHANNELS = 32, 128  # of a program: 512 or 2048 values of states of 16


@triton.jit
def mamba1_kernel(
    projected_ptr, delta_ptr, window_ptr, state_ptr, out_ptr,
    taps_ptr, bias_ptr, rates_ptr, delta_bias_ptr, skip_ptr,
    projected_stride, delta_stride, out_stride,
    WINDOW: tl.constexpr, TAP: tl.constexpr, STATE: tl.constexpr, RATE: tl.constexpr,
    HEADS: tl.constexpr, REPEAT: tl.constexpr, P: tl.constexpr, N: tl.constexpr, TAPS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr, BLOCK_N: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Step a run of channels of one row; the grid is (rows, runs)."""
    row = tl.program_id(0).to(tl.int64)
    projected_ptr += row * projected_stride
    memory = (window_ptr + row * WINDOW[0], taps_ptr, bias_ptr)
    inner, shared = HEADS * P, HEADS * P // REPEAT
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    n = tl.arange(0, BLOCK_N)
    is_channel, is_cell = channel < inner, (channel < inner)[:, None] & (n < N)[None, :]
    head = channel // P
    source = head // REPEAT  # the head of x and B that this one is a repetition of
    x = convolve(
        projected_ptr + inner + source * P + channel % P, memory, channel, is_channel, WINDOW, TAP, TAPS, HAS_BIAS
    )
    x = silu(x.to(tl.float32)).to(x.dtype).to(tl.float32)
    b_ptr, c_ptr = projected_ptr + inner + shared, projected_ptr + inner + 2 * shared
    b = tl.load(b_ptr + source[:, None] * N + n[None, :], mask=is_cell, other=0.0).to(tl.float32)
    c = tl.load(c_ptr + head[:, None] * N + n[None, :], mask=is_cell, other=0.0).to(tl.float32)
    rate_ptr = rates_ptr + head * RATE[0] + channel % P * RATE[1]
    rates = tl.load(rate_ptr[:, None] + n[None, :] * RATE[2], mask=is_cell, other=0.0)
    delta = tl.load(delta_ptr + row * delta_stride + channel, mask=is_channel, other=0.0).to(tl.float32)
    delta = softplus(delta + tl.load(delta_bias_ptr + channel, mask=is_channel, other=0.0))
    row_ptr = state_ptr + row * STATE[0] + head * STATE[1] + channel % P * STATE[2]
    cells = row_ptr[:, None] + n[None, :] * STATE[3]
    state = tl.load(cells, mask=is_cell, other=0.0).to(tl.float32)
    state = tl.exp(delta[:, None] * rates) * state + (delta * x)[:, None] * b
    tl.store(cells, state.to(state_ptr.dtype.element_ty), mask=is_cell)
    y = tl.sum(state * c, axis=1) + tl.load(skip_ptr + channel, mask=is_channel, other=0.0).to(tl.float32) * x
    gate = tl.load(projected_ptr + channel, mask=is_channel, other=0.0)
    tl.store(out_ptr + row * out_stride + channel, (y * silu(gate.to(tl.float32))).to(gate.dtype), mask=is_channel)


def mamba1(
    projected: Tensor, delta: Tensor, weights: Mamba1Weights, memory: Memory, out: Tensor | None = None
) -> Tensor:
    """Do a step of Mamba-1 in heads; see `Mamba1Step`."""
    rows, heads, width, size = memory.state.shape
    taps, bias = weights.convolution
    out = result(out, projected, (rows, heads * width))
    check_contiguous(projected=projected, delta=delta)
    fills_device = rows * heads * width >= 2 * MULTIPROCESSORS * _MANY_CHANNELS
    channels = _MANY_CHANNELS if fills_device else _FEW_CHANNELS
    mamba1_kernel[(rows, triton.cdiv(heads * width, channels))](
        projected, delta, memory.window, memory.state, out,
        taps, bias, weights.rates, weights.delta_bias, weights.skip,
        projected.stride(0), delta.stride(0), out.stride(0),
        WINDOW=memory.window.stride(), TAP=taps.stride(), STATE=memory.state.stride(), RATE=weights.rates.stride(),
        HEADS=heads, REPEAT=weights.repeat, P=width, N=size, TAPS=taps.shape[1],
        BLOCK_CHANNELS=channels, BLOCK_N=block(size), HAS_BIAS=bias is not None,
        num_warps=warps(2 * channels * block(size)),
    )  # fmt: skip
    return out
