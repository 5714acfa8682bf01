"""The per-channel-decay recurrence of Mamba-1 (selective scan; Gu and Dao, arXiv 2312.00752), in heads.

    S_t[p, n] = exp(delta_t[p] a[p, n]) S_{t-1}[p, n] + delta_t[p] x_t[p] b_t[n]      per head, a < 0, delta > 0
    y_t[p]    = sum over n of S_t[p, n] c_t[n]

A skip term and gates are the caller's. Decays are only ever multiplied, never divided by, so none may underflow to
harm. Legend: see the package.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from timetrial_plugins.models.scan.documents import document_starts
from timetrial_plugins.models.scan.precision import widen

CHUNK_SIZE = 32


class SelectiveInputs(NamedTuple):
    """What the recurrence reads; for a single token without the axis T."""

    x: Tensor  # (B, T, H, P)
    delta: Tensor  # (B, T, H, P), > 0
    b: Tensor  # (B, T, H, N)
    c: Tensor  # (B, T, H, N)


def selective_step(inputs: SelectiveInputs, a: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Read one token per row after `state` (B, H, P, N), with `a` (H, P, N).

    Returns:
        y (B, H, P) and the new state, in float32 or wider.
    """
    decay, added = _transition(inputs, a)  # (B, H, P, N) each
    state = decay * state.to(added.dtype) + added
    return (state * widen(inputs.c)[..., None, :]).sum(dim=-1), state


def selective_step_in_place(inputs: SelectiveInputs, rates: Tensor, state: Tensor) -> Tensor:
    """Do what `selective_step` does and write the new state over `state`, of any type; return y (B, H, P).

    `rates` are `binary_rates(a)`: powers of two take a third of the time of exponentials. Fastest for a state of
    `state_buffer`.
    """
    if state.dtype != widen(inputs.x).dtype:
        y, after = selective_step(inputs, rates * math.log(2), state)
        state.copy_(after)
        return y
    x, delta, b, c = map(widen, inputs)
    state.mul_((delta[..., None] * rates).exp2_()).addcmul_((delta * x)[..., None], b[..., None, :])
    return (state * c[..., None, :]).sum(dim=-1)


def binary_rates(a: Tensor) -> Tensor:
    """Return `a` (H, P, N) divided by log 2, so that exp(x a) is 2 to the x times it, laid out as `state_buffer`."""
    return (a.mT * math.log2(math.e)).contiguous().mT


def selective_sequential(
    inputs: SelectiveInputs, a: Tensor, state: Tensor | None = None, doc_ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Read tokens one by one from `state` (B, H, P, N), None for zeros; `doc_ids` are (B, T).

    Returns:
        y (B, T, H, P) and the last state (B, H, P, N), in float32 or wider.
    """
    state = _initial(inputs, state)
    starts = None if doc_ids is None else document_starts(doc_ids)
    outputs = []
    for token in range(inputs.x.shape[1]):
        if starts is not None:
            state = state.masked_fill(starts[:, token, None, None, None], 0)
        y, state = selective_step(SelectiveInputs(*(tensor[:, token] for tensor in inputs)), a, state)
        outputs.append(y)
    return torch.stack(outputs, dim=1) if outputs else widen(inputs.x), state


def selective_chunked(
    inputs: SelectiveInputs,
    a: Tensor,
    state: Tensor | None = None,
    doc_ids: Tensor | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> tuple[Tensor, Tensor]:
    """Do what `selective_sequential` does, a chunk at a time; memory grows with B * `chunk_size` * H * P * N.

    The last chunk is as long as what is left, so there is no padding.
    """
    state = _initial(inputs, state)
    starts = None if doc_ids is None else document_starts(doc_ids)
    outputs = []
    for first in range(0, inputs.x.shape[1], chunk_size):
        span = slice(first, first + chunk_size)
        decay, added = _transition(SelectiveInputs(*(tensor[:, span] for tensor in inputs)), a)  # (B, Q, H, P, N)
        if starts is not None:
            decay = decay.masked_fill(starts[:, span, None, None, None], 0)
        states = _scan(decay, torch.cat((added[:, :1] + decay[:, :1] * state[:, None], added[:, 1:]), dim=1))
        outputs.append((states * widen(inputs.c[:, span])[..., None, :]).sum(dim=-1))  # (B, Q, H, P)
        state = states[:, -1]
    return torch.cat(outputs, dim=1) if outputs else widen(inputs.x), state


def _scan(decay: Tensor, added: Tensor) -> Tensor:
    """Return S_t = decay_t S_{t-1} + added_t for all t along axis 1, S before the first being 0.

    Hillis and Steele (1986): after the round of reach k, entry t sums up the last 2k tokens up to t.
    """
    reach = 1
    while reach < added.shape[1]:
        added = torch.cat((added[:, :reach], added[:, reach:] + decay[:, reach:] * added[:, :-reach]), dim=1)
        decay = torch.cat((decay[:, :reach], decay[:, reach:] * decay[:, :-reach]), dim=1)
        reach *= 2
    return added


def _transition(inputs: SelectiveInputs, a: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the state is multiplied by and what is added to it, (B, ..., H, P, N) each."""
    x, delta, b, _ = map(widen, inputs)
    return (delta[..., None] * widen(a)).exp(), (delta * x)[..., None] * b[..., None, :]


def _initial(inputs: SelectiveInputs, state: Tensor | None) -> Tensor:
    """Return the state to start from, (B, H, P, N)."""
    if state is not None:
        return state.to(widen(inputs.x).dtype)
    batch, _, heads, channels = inputs.x.shape
    return widen(inputs.x.new_zeros(batch, heads, channels, inputs.b.shape[-1]))
