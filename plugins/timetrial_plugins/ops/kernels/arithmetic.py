"""Device functions that several kernels share."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def softplus(x):
    """Return log(1 + exp(x)) to float32's precision, also where it is small."""
    small = tl.exp(-tl.abs(x))
    # Kahan's log1p: the error of rounding 1 + small is divided out again.
    sum_ = 1.0 + small
    excess = sum_ - 1.0
    is_lost = excess == 0.0
    log1p = tl.where(is_lost, small, tl.log(sum_) * (small / tl.where(is_lost, 1.0, excess)))
    return tl.maximum(x, 0.0) + log1p


@triton.jit
def silu(x):
    """Return x * sigmoid(x), of float32."""
    return x / (1.0 + tl.exp(-x))


@triton.jit
def convolve(
    x_ptr, memory, channels, is_there,
    WINDOW: tl.constexpr, TAP: tl.constexpr, TAPS: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Convolve one token's channels, write it into their window, and return the sum, rounded to the type of x.

    `x_ptr` points at each channel's input. `memory` has pointers to a row's window, to the taps and to the bias;
    WINDOW and TAP are the strides of the first two, (row, channel, tap) and (channel, tap). The channels must be this
    program's own: another one may read the window before or after it is written.
    """
    window_ptr, taps_ptr, bias_ptr = memory
    tap = tl.arange(0, triton.next_power_of_2(TAPS - 1))
    is_past = is_there[:, None] & (tap < TAPS - 1)[None, :]
    slots = window_ptr + channels[:, None] * WINDOW[1] + tap[None, :] * WINDOW[2]
    places = taps_ptr + channels * TAP[0]
    x = tl.load(x_ptr, mask=is_there, other=0.0)
    past = tl.load(slots, mask=is_past, other=0.0)  # (channels, K - 1)
    taps = tl.load(places[:, None] + tap[None, :] * TAP[1], mask=is_past, other=0.0)
    last_tap = tl.load(places + (TAPS - 1) * TAP[1], mask=is_there, other=0.0)
    y = tl.sum(past.to(tl.float32) * taps.to(tl.float32), axis=1) + x.to(tl.float32) * last_tap.to(tl.float32)
    if HAS_BIAS:
        y += tl.load(bias_ptr + channels, mask=is_there, other=0.0).to(tl.float32)
    # Threads may hold the same values, so none may write before all have read.
    tl.debug_barrier()
    tl.store(slots - WINDOW[2], past, mask=is_past & (tap > 0)[None, :])
    last_slot = window_ptr + channels * WINDOW[1] + (TAPS - 2) * WINDOW[2]
    tl.store(last_slot, x.to(window_ptr.dtype.element_ty), mask=is_there)
    return y.to(x.dtype)
