"""The Mamba-2 mixer of the hybrids between its projections: convolution, state, skip, gate and norm in one kernel.

A program has one row and one head of x and B as projected, and goes through the heads that share it: it alone reads
and writes their part of the convolution's window.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from timetrial_plugins.ops.kernels.arithmetic import convolve, silu, softplus
from timetrial_plugins.ops.kernels.launch import block, check_contiguous, result, warps
from timetrial_plugins.ops.step_ops import Mamba2Weights, Memory


@triton.jit
def mamba2_kernel(
    projected_ptr, window_ptr, state_ptr, out_ptr, taps_ptr, bias_ptr, rates_ptr, dt_bias_ptr, skip_ptr, norm_ptr,
    projected_stride, out_stride, epsilon, WINDOW: tl.constexpr, TAP: tl.constexpr, STATE: tl.constexpr,
    HEADS: tl.constexpr, SHARED: tl.constexpr, P: tl.constexpr, N: tl.constexpr, TAPS: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Step the heads that share one head of x and B of one row; the grid is (rows, heads of x and B)."""
    row, shared = tl.program_id(0).to(tl.int64), tl.program_id(1)
    projected_ptr += row * projected_stride
    memory = (window_ptr + row * WINDOW[0], taps_ptr, bias_ptr)
    inner, channels = HEADS * P, SHARED * P + SHARED * N + HEADS * N
    n, p = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
    is_n, is_p = n < N, p < P
    is_cell = is_p[:, None] & is_n[None, :]
    convolved_ptr = projected_ptr + inner
    x_channel, b_channel = shared * P + p, SHARED * P + shared * N + n
    x = convolve(convolved_ptr + x_channel, memory, x_channel, is_p, WINDOW, TAP, TAPS, HAS_BIAS)
    b = convolve(convolved_ptr + b_channel, memory, b_channel, is_n, WINDOW, TAP, TAPS, HAS_BIAS)
    x, b = silu(x.to(tl.float32)).to(x.dtype).to(tl.float32), silu(b.to(tl.float32)).to(b.dtype).to(tl.float32)
    for index in range(HEADS // SHARED):
        head = shared * (HEADS // SHARED) + index
        c_channel = SHARED * (P + N) + head * N + n
        c = convolve(convolved_ptr + c_channel, memory, c_channel, is_n, WINDOW, TAP, TAPS, HAS_BIAS)
        c = silu(c.to(tl.float32)).to(c.dtype).to(tl.float32)
        dt = softplus(tl.load(convolved_ptr + channels + head).to(tl.float32) + tl.load(dt_bias_ptr + head))
        channel = head * P + p
        head_ptr = state_ptr + row * STATE[0] + head * STATE[1]
        cells = head_ptr + p[:, None] * STATE[2] + n[None, :] * STATE[3]
        state = tl.load(cells, mask=is_cell, other=0.0).to(tl.float32)
        state = state * tl.exp(tl.load(rates_ptr + head) * dt) + (x * dt)[:, None] * b[None, :]
        tl.store(cells, state.to(state_ptr.dtype.element_ty), mask=is_cell)
        y = tl.sum(state * c[None, :], axis=1) + tl.load(skip_ptr + head).to(tl.float32) * x
        gate = tl.load(projected_ptr + channel, mask=is_p, other=0.0)
        y = tl.where(is_p, y * silu(gate.to(tl.float32)), 0.0)
        y = y * tl.rsqrt(tl.sum(y * y, axis=0) / P + epsilon)
        y = y * tl.load(norm_ptr + channel, mask=is_p, other=0.0).to(tl.float32)
        tl.store(out_ptr + row * out_stride + channel, y.to(gate.dtype), mask=is_p)


def mamba2(projected: Tensor, weights: Mamba2Weights, memory: Memory, out: Tensor | None = None) -> Tensor:
    """Do a step of the hybrids' Mamba-2; see `Mamba2Step`."""
    rows, heads, width, size = memory.state.shape
    taps, bias = weights.convolution
    shared = (taps.shape[0] - heads * size) // (width + size)
    out = result(out, projected, (rows, heads * width))
    check_contiguous(projected=projected)
    mamba2_kernel[(rows, shared)](
        projected, memory.window, memory.state, out,
        taps, bias, weights.rates, weights.dt_bias, weights.skip, weights.norm,
        projected.stride(0), out.stride(0), weights.norm_epsilon,
        WINDOW=memory.window.stride(), TAP=taps.stride(), STATE=memory.state.stride(),
        HEADS=heads, SHARED=shared, P=width, N=size, TAPS=taps.shape[1], BLOCK_P=block(width), BLOCK_N=block(size),
        HAS_BIAS=bias is not None, num_warps=warps(block(width) * block(size)),
    )  # fmt: skip
    return out
