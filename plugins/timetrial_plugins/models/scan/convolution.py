"""Causal depthwise convolution: each channel is a weighted sum of its last K values, plus a bias.

Between calls a row keeps its last K - 1 inputs, the window. Legend: see the package.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from timetrial_plugins.models.scan.precision import widen


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, window: Tensor | None = None, doc_ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Convolve `x` (B, T, C) along T; T may be anything from 0.

    Args:
        x: inputs.
        weight: (C, K); the last tap belongs to the token itself.
        bias: (C,) or None.
        window: the K - 1 inputs before `x`, (B, C, K - 1); None means zeros.
        doc_ids: (B, T); taps do not reach into another document.

    Returns:
        y (B, T, C) and the window after `x`, both of the type of `x`.
    """
    batch, length, channels = x.shape
    reach = weight.shape[1] - 1  # K - 1
    window = x.new_zeros(batch, channels, reach) if window is None else window.to(x.dtype)
    if length == 0:
        return x, window
    inputs = torch.cat((window.transpose(1, 2), x), dim=1)  # (B, K - 1 + T, C)
    after = inputs[:, length:]  # (B, K - 1, C)
    y = widen(x.new_zeros(channels) if bias is None else bias)
    taps = widen(weight)
    if doc_ids is None:
        for tap in range(reach + 1):
            y = y + widen(inputs[:, tap : tap + length]) * taps[:, tap]
        return y.to(x.dtype), after.transpose(1, 2)
    documents = torch.cat((doc_ids[:, :1].expand(-1, reach), doc_ids), dim=1)  # (B, K - 1 + T)
    for tap in range(reach + 1):
        is_other = torch.ne(documents[:, tap : tap + length], doc_ids)[..., None]  # (B, T, 1)
        y = y + widen(inputs[:, tap : tap + length]).masked_fill(is_other, 0) * taps[:, tap]
    is_other = torch.ne(documents[:, length:], doc_ids[:, -1:])[..., None]
    return y.to(x.dtype), after.masked_fill(is_other, 0).transpose(1, 2)


def causal_conv_step(x: Tensor, weight: Tensor, bias: Tensor | None, window: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve one token, `x` (B, C), after `window` (B, C, K - 1); return y (B, C) and the new window."""
    inputs = torch.cat((window.to(x.dtype), x[..., None]), dim=2)  # (B, C, K)
    y = (widen(inputs) * widen(weight)).sum(dim=2)  # (B, C)
    return (y if bias is None else y + widen(bias)).to(x.dtype), inputs[..., 1:]


def causal_conv_step_in_place(x: Tensor, weight: Tensor, bias: Tensor | None, window: Tensor) -> Tensor:
    """Do what `causal_conv_step` does and write the new window over `window`; return y (B, C).

    Fastest for a window of `window_buffer` and a weight of `side_by_side`.
    """
    *earlier, last = widen(weight).unbind(1)  # K times (C,)
    past, wide = [window[..., tap] for tap in range(window.shape[2])], widen(x)  # K - 1 times (B, C)
    y = wide * last if bias is None else torch.addcmul(widen(bias), wide, last)
    for inputs, tap in zip(past, earlier, strict=True):
        y.addcmul_(widen(inputs), tap)
    for older, newer in zip(past, (*past[1:], x), strict=True):
        older.copy_(newer)
    return y.to(x.dtype)


def window_buffer(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return a buffer of windows, (..., C, K - 1) zeros, in which the channels lie side by side: steps go over them."""
    *rows, channels, reach = shape
    return like.new_zeros(*rows, reach, channels).mT


def side_by_side(convolution: nn.Conv1d) -> Tensor:
    """Return a copy of a convolution's weight, (C, K), in which each tap's channels lie side by side."""
    return convolution.weight[:, 0].t().contiguous().t()
