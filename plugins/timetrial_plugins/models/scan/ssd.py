"""The scalar-decay recurrence of Mamba-2 (state space duality; Dao and Gu, arXiv 2405.21060) and its matrix form.

    S_t = exp(log_decay_t) S_{t-1} + x_t b_t^T      (P, N) per head
    y_t = S_t c_t                                   (P,) per head
    y   = M x,  M[i, j] = (c_i . b_j) exp(log_decay_{j+1} + ... + log_decay_i)  for j <= i, else 0

There is no step size in here: who has one passes x * dt, and log_decay = dt * A. A skip term and gates are the
caller's. Every exponent is a sum of log-decays, so at most 0: nothing overflows, and nothing is divided by a decay.
Legend: see the package.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from timetrial_plugins.models.scan.documents import document_starts
from timetrial_plugins.models.scan.precision import widen

CHUNK_SIZE = 128


class SSDInputs(NamedTuple):
    """What the recurrence reads; for a single token without the axis T."""

    x: Tensor  # (B, T, H, P)
    log_decay: Tensor  # (B, T, H) float32 or wider, <= 0
    b: Tensor  # (B, T, G, N); head h uses group h // (H / G)
    c: Tensor  # (B, T, G, N)


class Mixing(NamedTuple):
    """What decides the matrix M + diag(skip) that a layer mixes tokens by; a step size is part of b."""

    log_decay: Tensor  # (B, T, H) float32 or wider, <= 0
    b: Tensor  # (B, T, G, N)
    c: Tensor  # (B, T, G, N)
    skip: Tensor  # (H,)


def ssd_step(inputs: SSDInputs, state: Tensor) -> tuple[Tensor, Tensor]:
    """Read one token per row after `state` (B, H, P, N); return y (B, H, P) and the new state, in float32 or wider."""
    x, log_decay, b, c = _per_head(inputs)  # (B, H, P), (B, H), (B, H, N), (B, H, N)
    decayed = state.to(x.dtype) * log_decay.exp()[..., None, None]  # (B, H, P, N)
    state = torch.addcmul(decayed, x[..., :, None], b[..., None, :])  # (B, H, P, N)
    return (state @ c[..., None])[..., 0], state


def ssd_step_in_place(inputs: SSDInputs, state: Tensor) -> Tensor:
    """Do what `ssd_step` does and write the new state over `state`, of any type; return y (B, H, P).

    Fastest for a state of `state_buffer`.
    """
    if state.dtype != widen(inputs.x).dtype:
        y, after = ssd_step(inputs, state)
        state.copy_(after)
        return y
    x, log_decay, b, c = _per_head(inputs)
    state.mul_(log_decay.exp()[..., None, None]).addcmul_(x[..., :, None], b[..., None, :])
    return (c[..., None, :] @ state.mT)[..., 0, :]


def ssd_sequential(
    inputs: SSDInputs, state: Tensor | None = None, doc_ids: Tensor | None = None
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
        y, state = ssd_step(SSDInputs(*(tensor[:, token] for tensor in inputs)), state)
        outputs.append(y)
    return torch.stack(outputs, dim=1) if outputs else widen(inputs.x), state


def ssd_chunked(
    inputs: SSDInputs, state: Tensor | None = None, doc_ids: Tensor | None = None, chunk_size: int = CHUNK_SIZE
) -> tuple[Tensor, Tensor]:
    """Do what `ssd_sequential` does, a chunk at a time; memory grows with B * H * `chunk_size`^2.

    The last chunk is as long as what is left, so there is no padding.
    """
    state = _initial(inputs, state)
    starts = None if doc_ids is None else document_starts(doc_ids)
    outputs = []
    for first in range(0, inputs.x.shape[1], chunk_size):
        span = slice(first, first + chunk_size)
        numbers = None if starts is None else starts[:, span].cumsum(dim=1)
        y, state = _read_chunk(SSDInputs(*(tensor[:, span] for tensor in inputs)), state, numbers)
        outputs.append(y)
    return torch.cat(outputs, dim=1) if outputs else widen(inputs.x), state


def ssd_matrix(log_decay: Tensor, b: Tensor, c: Tensor, doc_ids: Tensor | None = None) -> Tensor:
    """Return the matrix M that mixes tokens where the state starts at zero, (B, H, T, T).

    `log_decay` is (B, T, H), `b` and `c` are (B, T, G, N), `doc_ids` (B, T).
    """
    per_group = log_decay.shape[2] // b.shape[2]  # H / G
    products = torch.einsum("bign,bjgn->bgij", widen(c), widen(b))  # (B, G, T, T)
    return products.repeat_interleave(per_group, dim=1) * _decay_matrix(widen(log_decay), doc_ids)


def _read_chunk(inputs: SSDInputs, state: Tensor, numbers: Tensor | None) -> tuple[Tensor, Tensor]:
    """Read Q tokens at once after `state`; `numbers` (B, Q) count the documents begun since."""
    x, log_decay, b, c = _per_head(inputs)  # (B, Q, H, P), (B, Q, H), (B, Q, H, N), (B, Q, H, N)
    within = _decay_matrix(log_decay, numbers)  # (B, H, Q, Q) from token to token
    since = log_decay.cumsum(dim=1).exp()  # (B, Q, H) from the state to each token
    if numbers is not None:
        since = since.masked_fill((numbers > 0)[..., None], 0)
    mixing = torch.einsum("bihn,bjhn->bhij", c, b) * within  # (B, H, Q, Q)
    y = torch.einsum("bhij,bjhp->bihp", mixing, x)
    y = y + torch.einsum("bihn,bhpn->bihp", c, state) * since[..., None]  # (B, Q, H, P)
    to_end = within[:, :, -1].transpose(1, 2)  # (B, Q, H)
    added = torch.einsum("bjhp,bjhn->bhpn", x * to_end[..., None], b)
    return y, state * since[:, -1, :, None, None] + added


def _decay_matrix(log_decay: Tensor, doc_ids: Tensor | None) -> Tensor:
    """Return exp of the sum over j < k <= i of log_decay[k], (B, H, T, T), 0 for j > i and between documents.

    Each column is summed by itself: differences of one running sum would cancel digits, and could be inf - inf.
    """
    length = log_decay.shape[1]
    is_after = torch.ones(length, length, dtype=torch.bool, device=log_decay.device).tril()  # j <= i
    steps = log_decay.transpose(1, 2)[..., None].expand(-1, -1, -1, length)  # (B, H, i, j)
    sums = steps.masked_fill(~is_after.tril(-1), 0).cumsum(dim=2)
    is_visible = is_after
    if doc_ids is not None:
        is_visible = is_after & (doc_ids[:, None, :, None] == doc_ids[:, None, None, :])  # (B, 1, T, T)
    return sums.exp().masked_fill(~is_visible, 0)


def _per_head(inputs: SSDInputs) -> SSDInputs:
    """Return the inputs in float32 or wider, b and c repeated for every head of their group."""
    x, log_decay, b, c = map(widen, inputs)
    per_group = x.shape[-2] // b.shape[-2]  # H / G
    if per_group > 1:
        b, c = b.repeat_interleave(per_group, dim=-2), c.repeat_interleave(per_group, dim=-2)
    return SSDInputs(x, log_decay, b, c)


def _initial(inputs: SSDInputs, state: Tensor | None) -> Tensor:
    """Return the state to start from, (B, H, P, N)."""
    if state is not None:
        return state.to(widen(inputs.x).dtype)
    batch, _, heads, channels = inputs.x.shape
    return widen(inputs.x.new_zeros(batch, heads, channels, inputs.b.shape[-1]))
