"""Attention of single queries in parts: to a row's own keys, and to those of a prompt that many rows share.

Each part gives its result and the logarithm of the sum of its exponentials; from the two, parts are merged exactly.
Shapes: B rows, K key/value heads, G query heads that share one, P channels per head, S slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from timetrial_plugins.models.scan.precision import widen


class KeyValues(NamedTuple):
    """One layer's keys and values: as it made them of T tokens, or S slots of its buffers."""

    keys: Tensor  # (B, K, T or S, P)
    values: Tensor  # (B, K, T or S, P)


class Attended(NamedTuple):
    """Attention to some of the keys."""

    mixed: Tensor  # (B, K, G, P) values weighted by softmax over these keys
    log_sum: Tensor  # (B, K, G) float32 or wider: log of the sum of exp(score) over these keys


class PromptRows(NamedTuple):
    """A prompt and the rows that share it."""

    rows: Tensor | None  # (b,) indices; None: all
    entries: KeyValues  # (1, K, S, P)


class Segment(NamedTuple):
    """Rows that lie side by side, and their own keys and values up to the slot that the longest of them has come to."""

    rows: slice
    own: KeyValues  # (b, K, S, P)
    bias: Tensor | None  # (b, 1, 1, S), as in `attend`


def attend_in_segments(
    query: Tensor, segments: Sequence[Segment], prompts: Sequence[PromptRows]
) -> Tensor:  # (B, K, G, P)
    """Do what `attend_to_both` does, each segment of the B rows reading its own slots and no more."""
    if len(segments) == 1:
        return attend_to_both(query, segments[0].own, segments[0].bias, prompts)
    prompt = attend_to_prompts(query, prompts) if prompts else None
    mixed = []
    for rows, own, bias in segments:
        part = None if prompt is None else Attended(prompt.mixed[rows], prompt.log_sum[rows])
        mixed.append(_attend_by_products(query[rows], own, bias, part))
    return torch.cat(mixed)


def attend_to_both(
    query: Tensor, own: KeyValues, bias: Tensor | None, prompts: Sequence[PromptRows]
) -> Tensor:  # (B, K, G, P)
    """Attend from `query` (B, K, G, P) to each row's own keys, with `bias` as in `attend`, and to its shared prompt."""
    if multiplies(query):
        return _attend_by_products(query, own, bias, attend_to_prompts(query, prompts) if prompts else None)
    attended = attend(query, own, bias)
    return merge(attend_to_prompts(query, prompts), attended) if prompts else attended.mixed


def _attend_by_products(query: Tensor, own: KeyValues, bias: Tensor | None, prompt: Attended | None) -> Tensor:
    """Attend to each row's own keys, and merge the result with that of its prompt."""
    matrices = (query * query.shape[-1] ** -0.5).flatten(0, 1)  # (B K, G, P)
    values = own.values.flatten(0, 1)
    scores = torch.bmm(matrices, own.keys.flatten(0, 1).mT)  # (B K, G, S)
    if bias is not None:
        scores.view(*query.shape[:3], -1).add_(bias)
    if prompt is None:
        return torch.bmm(scores.softmax(dim=-1), values).view(query.shape)
    # To the softmax a whole prompt is one more key: its score is the log of its sum, its value what was made of it.
    shares = torch.cat((prompt.log_sum.reshape(-1, query.shape[2], 1), scores), dim=-1).softmax(dim=-1)
    from_prompt = prompt.mixed.reshape(matrices.shape) * shares[..., :1]
    return torch.baddbmm(from_prompt, shares[..., 1:], values).view(query.shape)


def multiplies(like: Tensor) -> bool:
    """Return whether rows attend to their own keys by products of matrices: wide formats on a CPU.

    PyTorch's kernel reads a row's keys in an order that memory is slow at: products take 0.8 of its time at 64 rows.
    """
    return like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64)


def attend(query: Tensor, entries: KeyValues, bias: Tensor | None) -> Attended:
    """Attend from `query` (B, K, G, P); `bias` (B, 1, 1, S), of its type, is added to the scores."""
    if query.device.type != "cpu":
        return attend_plainly(query, entries, bias)
    # What scaled_dot_product_attention calls on a CPU, called directly because it returns the sums too.
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return Attended(*kernel(query, entries.keys, entries.values, attn_mask=bias))


def attend_plainly(query: Tensor, entries: KeyValues, bias: Tensor | None) -> Attended:
    """Do the same by its definition."""
    scores = widen((query * query.shape[-1] ** -0.5) @ entries.keys.transpose(-1, -2))  # (B, K, G, S)
    if bias is not None:
        scores = scores + bias
    log_sum = scores.logsumexp(dim=-1)
    weights = (scores - log_sum[..., None]).exp().to(query.dtype)
    return Attended(weights @ entries.values, log_sum)


def attend_to_prompts(query: Tensor, prompts: Sequence[PromptRows]) -> Attended:
    """Attend from `query` (B, K, G, P) to each row's shared prompt, reading every prompt once."""
    if len(prompts) == 1 and prompts[0].rows is None:
        return _attend_to_one(query, prompts[0].entries)
    mixed = torch.zeros_like(query)
    log_sum = widen(query[..., 0]).new_full(query.shape[:-1], -torch.inf)  # rows without a prompt: nothing to merge
    for rows, entries in prompts:
        part = _attend_to_one(query if rows is None else query[rows], entries)
        mixed[rows], log_sum[rows] = part
    return Attended(mixed, log_sum)


def merge(first: Attended, second: Attended) -> Tensor:
    """Return attention to the keys of both, (B, K, G, P)."""
    share = torch.sigmoid(first.log_sum - second.log_sum)[..., None]  # exp(l1) / (exp(l1) + exp(l2))
    return torch.lerp(second.mixed, first.mixed, share.to(second.mixed.dtype))


def _attend_to_one(query: Tensor, entries: KeyValues) -> Attended:
    """Attend from all rows to one prompt: a head's queries, whatever their row, are one matrix."""
    batch, heads, group, width = query.shape
    mixed, log_sum = attend(query.transpose(0, 1).reshape(1, heads, batch * group, width), entries, None)
    return Attended(
        mixed.reshape(heads, batch, group, width).transpose(0, 1),
        log_sum.reshape(heads, batch, group).transpose(0, 1),
    )
