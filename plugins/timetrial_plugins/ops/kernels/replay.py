"""The Llamba mixer with a state that is written every L steps: ReplaySSM (vllm RFC 49232).

    y = exp(g) S c + sum over kept j of exp(g - g_j) (c . b_j) x_j          g: sum of log-decays since S was written

A step reads S and the inputs kept since, and writes one input; only the step that fills a row's places writes its S.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from timetrial_plugins.ops.kernels.arithmetic import convolve, softplus
from timetrial_plugins.ops.kernels.launch import block, check_contiguous, result, warps
from timetrial_plugins.ops.kernels.llamba import gated
from timetrial_plugins.ops.step_ops import LlambaWeights, ReplayMemory

_VALUES_WRITTEN = 2048  # of a state, at once


@triton.jit
def replay_kernel(
    projected_ptr, window_ptr, state_ptr, kept_x_ptr, kept_b_ptr, total_ptr, fill_ptr, out_ptr,
    taps_ptr, bias_ptr, skip_ptr, gate_bias_ptr,
    projected_stride, kept_x_stride, kept_b_stride, total_stride, out_stride,
    WINDOW: tl.constexpr, TAP: tl.constexpr, STATE: tl.constexpr,
    HEADS: tl.constexpr, GROUPS: tl.constexpr, P: tl.constexpr, N: tl.constexpr, TAPS: tl.constexpr,
    KEPT: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_KEPT: tl.constexpr,
    BLOCK_WRITTEN: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_GATE_BIAS: tl.constexpr,
):  # fmt: skip
    """Step the heads of one group of one row; the grid is (rows, groups)."""
    row, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    projected_ptr += row * projected_stride
    memory = (window_ptr + row * WINDOW[0], taps_ptr, bias_ptr)
    kept_b_ptr += row * kept_b_stride + group * KEPT * N
    fill = tl.load(fill_ptr + row).to(tl.int32)
    inner, channels = HEADS * P, HEADS * P + 2 * GROUPS * N
    n, p, kept = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P), tl.arange(0, BLOCK_KEPT)
    is_n, is_p, is_kept = n < N, p < P, kept < fill
    b_channel, c_channel = inner + group * N + n, inner + (GROUPS + group) * N + n
    b = convolve(projected_ptr + b_channel, memory, b_channel, is_n, WINDOW, TAP, TAPS, HAS_BIAS)
    c = convolve(projected_ptr + c_channel, memory, c_channel, is_n, WINDOW, TAP, TAPS, HAS_BIAS).to(tl.float32)
    tl.store(kept_b_ptr + fill * N + n, b, mask=is_n)
    b = b.to(tl.float32)
    kept_b = tl.load(kept_b_ptr + kept[:, None] * N + n[None, :], mask=is_kept[:, None] & is_n[None, :], other=0.0)
    scores = tl.sum(kept_b.to(tl.float32) * c[None, :], axis=1)  # (kept)
    own_score = tl.sum(b * c, axis=0)
    for index in range(HEADS // GROUPS):
        head = group * (HEADS // GROUPS) + index
        channel = head * P + p
        head_x_ptr = kept_x_ptr + row * kept_x_stride + head * KEPT * P
        head_total_ptr = total_ptr + row * total_stride + head * KEPT
        x = convolve(projected_ptr + channel, memory, channel, is_p, WINDOW, TAP, TAPS, HAS_BIAS)
        log_decay = -softplus(tl.load(projected_ptr + channels + inner + head).to(tl.float32))
        total = tl.load(head_total_ptr + fill - 1, mask=fill > 0, other=0.0) + log_decay
        tl.store(head_x_ptr + fill * P + p, x, mask=is_p)
        tl.store(head_total_ptr + fill, total)
        x = x.to(tl.float32)
        decays = tl.exp(total - tl.load(head_total_ptr + kept, mask=is_kept, other=float("inf")))
        kept_x = tl.load(head_x_ptr + kept[:, None] * P + p[None, :], mask=is_kept[:, None] & is_p[None, :], other=0.0)
        head_ptr = state_ptr + row * STATE[0] + head * STATE[1]
        cells = head_ptr + p[:, None] * STATE[2] + n[None, :] * STATE[3]
        state = tl.load(cells, mask=is_p[:, None] & is_n[None, :], other=0.0).to(tl.float32)
        skip = tl.load(skip_ptr + head).to(tl.float32)
        y = tl.exp(total) * tl.sum(state * c[None, :], axis=1) + (own_score + skip) * x
        y += tl.sum((scores * decays)[:, None] * kept_x.to(tl.float32), axis=0)
        if fill == KEPT - 1:
            _write_state(
                head_ptr, head_x_ptr, kept_b_ptr, head_total_ptr, total,
                STATE, P, N, KEPT, BLOCK_WRITTEN, BLOCK_N,
            )  # fmt: skip
        gate = tl.load(projected_ptr + channels + channel, mask=is_p, other=0.0)
        y = gated(y, gate, gate_bias_ptr, channel, is_p, HAS_GATE_BIAS)
        tl.store(out_ptr + row * out_stride + channel, y, mask=is_p)


@triton.jit
def _write_state(
    state_ptr, x_ptr, b_ptr, total_ptr, total,
    STATE: tl.constexpr, P: tl.constexpr, N: tl.constexpr, KEPT: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Bring the state of one row and head up to date, a few channels at a time: the whole would take all registers."""
    n = tl.arange(0, BLOCK_N)
    tl.debug_barrier()  # what this program's other threads have kept of this token must be there
    for first in range(0, P, BLOCK_P):
        p = first + tl.arange(0, BLOCK_P)
        cells = state_ptr + p[:, None] * STATE[2] + n[None, :] * STATE[3]
        is_cell = (p < P)[:, None] & (n < N)[None, :]
        state = tl.load(cells, mask=is_cell, other=0.0).to(tl.float32) * tl.exp(total)
        for entry in range(KEPT):
            decay = tl.exp(total - tl.load(total_ptr + entry))
            x = tl.load(x_ptr + entry * P + p, mask=p < P, other=0.0).to(tl.float32)
            b = tl.load(b_ptr + entry * N + n, mask=n < N, other=0.0).to(tl.float32)
            state += (decay * x)[:, None] * b[None, :]
        tl.store(cells, state.to(state_ptr.dtype.element_ty), mask=is_cell)


def llamba_replay(
    projected: Tensor, weights: LlambaWeights, memory: ReplayMemory, fill: Tensor, out: Tensor | None = None
) -> Tensor:
    """Do a discrete Mamba-2 step without writing the state but every L steps; see `ReplayStep`."""
    rows, heads, width, size = memory.state.shape
    groups, kept = memory.b.shape[1:3]
    taps, bias = weights.convolution
    out = result(out, projected, (rows, heads * width))
    check_contiguous(projected=projected, x=memory.x, b=memory.b, log_decay=memory.log_decay)
    replay_kernel[(rows, groups)](
        projected, *memory, fill, out, taps, bias, weights.skip, weights.gate_bias,
        projected.stride(0), memory.x.stride(0), memory.b.stride(0), memory.log_decay.stride(0), out.stride(0),
        WINDOW=memory.window.stride(), TAP=taps.stride(), STATE=memory.state.stride(),
        HEADS=heads, GROUPS=groups, P=width, N=size, TAPS=taps.shape[1], KEPT=kept,
        BLOCK_P=block(width), BLOCK_N=block(size), BLOCK_KEPT=block(kept),
        BLOCK_WRITTEN=max(1, _VALUES_WRITTEN // block(size)),
        HAS_BIAS=bias is not None, HAS_GATE_BIAS=weights.gate_bias is not None,
        num_warps=warps(block(width) * block(size)),
    )  # fmt: skip
    return out
