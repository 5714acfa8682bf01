"""How far the matrix that a Mamba-2 layer mixes tokens by is from a layer of attention, a block of rows at a time.

    M[i, j] = (c_i . b_j) exp(log_decay_(j+1) + ... + log_decay_i)  for j <= i,  plus skip where i = j
    A       = softmax of q k^T / sqrt(P), causal
    distance = | M - A |      Frobenius, for each row of the batch and each head; not squared

Documents see themselves only, on both sides. Of (T, T) only a block of rows exists at a time. A head's distance depends
on that head's inputs alone and is the root of a sum over blocks, so the gradients of the sums of squares are taken in
the forward pass, block by block, and only multiplied by 1 / (2 distance) in the backward pass: nothing is computed
twice. Exponents are sums of log-decays, never differences of sums: nothing cancels.
Reference: arXiv 2408.10189, section 4.1.
Shapes: B batch, T tokens, R rows of a block, S = all columns up to its last row, H heads, K key heads, P channels per
head, N state size.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from timetrial_plugins.models.scan.precision import widen
from timetrial_plugins.models.scan.ssd import Mixing

BLOCK_SIZE = 64
"""Rows that exist at a time; a block of a Llamba-1B layer takes about 0.1 GB a sequence of 2,048 tokens."""
_LEAST_SQUARES = 1e-24  # the root of a smaller sum has no use, and at 0 no derivative


class QueriesKeys(NamedTuple):
    """What attention weights come from, rotated."""

    query: Tensor  # (B, H, T, P)
    key: Tensor  # (B, K, T, P)


class _Fixed(NamedTuple):
    """What has no gradients."""

    attention: QueriesKeys
    doc_ids: Tensor  # (B, T)
    counts: Tensor  # (B, T)
    block_size: int
    with_gradients: bool


def matrix_distance(
    mixing: Mixing, attention: QueriesKeys, doc_ids: Tensor, counts: Tensor, block_size: int = BLOCK_SIZE
) -> Tensor:
    """Return the distances (B, H), differentiable in `mixing`, in float32 or wider.

    Args:
        mixing: of the student.
        attention: of the teacher, with as many query heads.
        doc_ids: (B, T).
        counts: (B, T) bool, which tokens' rows are compared.
        block_size: rows at a time; changes memory and speed only.
    """
    log_decay, b, c, skip = map(widen, mixing)
    per_group = log_decay.shape[2] // b.shape[2]
    if per_group > 1:
        b, c = b.repeat_interleave(per_group, dim=2), c.repeat_interleave(per_group, dim=2)
    fixed = _Fixed(attention, doc_ids, counts, block_size, torch.is_grad_enabled())
    parts = (log_decay, b, c, skip.expand(log_decay.shape[0], -1))
    return cast(Tensor, _Distances.apply(*parts, fixed))  # type: ignore[no-untyped-call]  # torch


class _Distances(torch.autograd.Function):
    """`matrix_distance` for autograd. Any: torch does not type contexts."""

    @staticmethod
    def forward(ctx: Any, log_decay: Tensor, b: Tensor, c: Tensor, skip: Tensor, fixed: _Fixed) -> Tensor:
        mixing = Mixing(log_decay, b, c, skip)
        has_gradients = fixed.with_gradients and any(ctx.needs_input_grad)
        totals = tuple(torch.zeros_like(part) for part in mixing) if has_gradients else ()
        squares = torch.zeros_like(skip)
        length = fixed.doc_ids.shape[1]
        with torch.autocast(log_decay.device.type, enabled=False):
            # The longest rows first: every later block fits into the memory that the first one leaves.
            for first in reversed(range(0, length, fixed.block_size)):
                rows = range(first, min(first + fixed.block_size, length))
                squares += _add_block(mixing, fixed, rows, totals)
        distances = squares.clamp(min=_LEAST_SQUARES).sqrt()
        ctx.save_for_backward(distances, *totals)
        return distances

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_distances: Tensor) -> tuple[Tensor | None, ...]:
        distances, of_log_decay, of_b, of_c, of_skip = ctx.saved_tensors
        weights = of_distances / (2 * distances)  # (B, H): the root's derivative
        by_token = weights[:, None]  # (B, 1, H)
        by_state = by_token[..., None]  # (B, 1, H, 1)
        return of_log_decay * by_token, of_b * by_state, of_c * by_state, of_skip * weights, None


def _add_block(mixing: Mixing, fixed: _Fixed, rows: range, totals: tuple[Tensor, ...]) -> Tensor:
    """Return the sums of squares (B, H) of a block, and add their gradients to the totals, if there are any."""
    stop = rows.stop
    seen = Mixing(mixing.log_decay[:, :stop], mixing.b[:, :stop], mixing.c[:, :stop], mixing.skip)
    if not totals:
        return _block_squares(seen, fixed, rows)
    with torch.enable_grad():
        leaves = Mixing(*(part.detach().requires_grad_() for part in seen))
        squares = _block_squares(leaves, fixed, rows)
        gradients = torch.autograd.grad(squares.sum(), leaves)
    for total, gradient in zip(totals[:3], gradients[:3], strict=True):
        total[:, :stop] += gradient
    totals[3].add_(gradients[3])
    return squares.detach()


def _block_squares(mixing: Mixing, fixed: _Fixed, rows: range) -> Tensor:
    """Return the sums of squares (B, H) of a block of rows of the difference."""
    visible = _visible(fixed.doc_ids, rows)
    difference = mixing_rows(mixing, visible, rows) - attention_rows(fixed.attention, visible, rows)
    squares = difference.square().sum(-1)  # (B, H, R)
    return squares.masked_fill(~fixed.counts[:, None, rows.start : rows.stop], 0).sum(-1)


def mixing_rows(mixing: Mixing, visible: Tensor, rows: range) -> Tensor:
    """Return rows of M, (B, H, R, S), where `visible` (B, 1, R, S) lets them be other than 0; b and c are by head."""
    first, last = rows.start, rows.stop
    products = torch.einsum("brhn,bshn->bhrs", mixing.c[:, first:last], mixing.b[:, :last])  # (B, H, R, S)
    matrix = products * _decays(mixing.log_decay, rows).exp().masked_fill(~visible, 0)
    matrix.diagonal(offset=first, dim1=-2, dim2=-1).add_(mixing.skip[..., None])
    return matrix


def attention_rows(attention: QueriesKeys, visible: Tensor, rows: range) -> Tensor:
    """Return rows of A, (B, H, R, S)."""
    query, key = (
        widen(part) for part in (attention.query[:, :, rows.start : rows.stop], attention.key[:, :, : rows.stop])
    )
    grouped = torch.unflatten(query, 1, (key.shape[1], -1))  # (B, K, H/K, R, P)
    scores = torch.einsum("bkhrp,bksp->bkhrs", grouped, key).flatten(1, 2) * query.shape[-1] ** -0.5
    weights: Tensor = scores.masked_fill_(~visible, -torch.inf).softmax(-1)
    return weights


def _visible(doc_ids: Tensor, rows: range) -> Tensor:
    """Return which of the columns up to the block's end each of its rows may see, (B, 1, R, S)."""
    index = torch.arange(rows.stop, device=doc_ids.device)
    is_before = index <= index[rows.start :, None]  # (R, S)
    is_same = doc_ids[:, rows.start : rows.stop, None] == doc_ids[:, None, : rows.stop]
    return (is_same & is_before)[:, None]


def _decays(log_decay: Tensor, rows: range) -> Tensor:
    """Return log_decay_(j+1) + ... + log_decay_i for i in `rows` and j < rows.stop, (B, H, R, S); 0 for j >= i."""
    first, last = rows.start, rows.stop
    steps = log_decay.transpose(1, 2)  # (B, H, T)
    of_block = steps[..., first:last]
    # From a column before the block: to the block's first row, and on from there.
    to_block = functional.pad(steps[..., 1:first].flip(-1).cumsum(-1).flip(-1), (0, min(first, 1)))  # (B, H, first)
    before = of_block.cumsum(-1)[..., :, None] + to_block[..., None, :]
    # From a column inside it: column by column, as there are few.
    is_after = torch.ones(len(rows), len(rows), dtype=torch.bool, device=log_decay.device).tril(-1)
    inside = of_block[..., None].expand(-1, -1, -1, len(rows)).masked_fill(~is_after, 0).cumsum(dim=2)
    return torch.cat((before, inside), dim=-1)
