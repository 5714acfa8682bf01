"""Grouped-query attention of one token per row, split over slots; parts are merged by their log-sum-exp.

    own keys:       a program has one row, one key/value head with all its query heads, and a part of the slots
    shared prompts: a program has a block of rows of one prompt, one key/value head, and a part of the prompt
    merge:          a program has one row and one query head, and all parts of both

A part is the attention to its keys and the log of their sum of exponentials, in float32; -inf where there are none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.kernels.launch import block, result, splits
from timetrial_plugins.ops.step_ops import SharedPrompts

_SLOTS = {2: 64, 4: 16}  # read at once, by the bytes of a number: shared memory holds keys and values of twice as many
_LEAST_PART = 128  # slots worth a program
_LEAST_QUERIES = 16  # of a matrix product


class Parts(NamedTuple):
    """Attention to parts of the keys."""

    mixed: Tensor  # (B, H, parts, P) float32
    log_sums: Tensor  # (B, H, parts)


@triton.jit
def _attend_part(
    query, keys_ptr, values_ptr, slot_stride, first, last, scale,
    P: tl.constexpr, BLOCK_QUERIES: tl.constexpr, BLOCK_SLOTS: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Attend from `query` (queries, P) to slots `first` to `last`; return the sums, the largest score and the mix."""
    p, slot = tl.arange(0, BLOCK_P), tl.arange(0, BLOCK_SLOTS)
    is_p = p < P
    largest = tl.full([BLOCK_QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_QUERIES], tl.float32)
    mixed = tl.zeros([BLOCK_QUERIES, BLOCK_P], tl.float32)
    for start in range(first, last, BLOCK_SLOTS):
        is_slot = start + slot < last
        offsets = (start + slot)[:, None] * slot_stride + p[None, :]
        is_there = is_slot[:, None] & is_p[None, :]
        keys = tl.load(keys_ptr + offsets, mask=is_there, other=0.0)
        values = tl.load(values_ptr + offsets, mask=is_there, other=0.0)
        scores = tl.dot(query, tl.trans(keys), input_precision="ieee") * scale
        scores = tl.where(is_slot[None, :], scores, float("-inf"))
        larger = tl.maximum(largest, tl.max(scores, axis=1))
        weights = tl.exp(scores - larger[:, None])
        shrink = tl.exp(largest - larger)
        total = total * shrink + tl.sum(weights, axis=1)
        mixed = mixed * shrink[:, None] + tl.dot(weights.to(values.dtype), values, input_precision="ieee")
        largest = larger
    return total, largest, mixed


@triton.jit
def _log_sum(total, largest):
    """Return the log of a sum of exponentials relative to the largest; -inf of none."""
    return tl.where(total > 0, largest + tl.log(tl.where(total > 0, total, 1.0)), float("-inf"))


@triton.jit
def own_kernel(
    query_ptr, keys_ptr, values_ptr, lengths_ptr, mixed_ptr, log_sums_ptr,
    query_stride, row_stride, head_stride, slot_stride, slots_per_part, parts, scale,
    GROUP: tl.constexpr, P: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr, BLOCK_SLOTS: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Attend to a part of a row's own slots; the grid is (rows, key/value heads, parts)."""
    row, head, part = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    index, p = tl.arange(0, BLOCK_QUERIES), tl.arange(0, BLOCK_P)
    is_query, is_p = index < GROUP, p < P
    is_there = is_query[:, None] & is_p[None, :]
    queries = head * GROUP + index
    query = tl.load(query_ptr + row * query_stride + queries[:, None] * P + p[None, :], mask=is_there, other=0.0)
    first = part * slots_per_part
    last = tl.minimum(first + slots_per_part, tl.load(lengths_ptr + row).to(tl.int32))
    entry = row * row_stride + head * head_stride
    total, largest, mixed = _attend_part(
        query, keys_ptr + entry, values_ptr + entry, slot_stride, first, last, scale,
        P, BLOCK_QUERIES, BLOCK_SLOTS, BLOCK_P,
    )  # fmt: skip
    place = (row * tl.num_programs(1) * GROUP + queries) * parts + part
    tl.store(log_sums_ptr + place, _log_sum(total, largest), mask=is_query)
    mixed = mixed / tl.where(total > 0, total, 1.0)[:, None]
    tl.store(mixed_ptr + place[:, None] * P + p[None, :], mixed, mask=is_there)


@triton.jit
def prompt_kernel(
    query_ptr, keys_ptr, values_ptr, lengths_ptr, prompt_of_block_ptr, rows_of_block_ptr, mixed_ptr, log_sums_ptr,
    query_stride, prompt_stride, head_stride, slot_stride, slots_per_part, parts, scale,
    GROUP: tl.constexpr, P: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr, BLOCK_SLOTS: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Attend from a block of rows to a part of their prompt; the grid is (blocks, key/value heads, parts)."""
    block_, head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    prompt = tl.load(prompt_of_block_ptr + block_).to(tl.int64)
    if prompt >= 0:
        index, p = tl.arange(0, BLOCK_QUERIES), tl.arange(0, BLOCK_P)
        rows = tl.load(rows_of_block_ptr + block_ * ROWS + index // GROUP, mask=index < ROWS * GROUP, other=-1)
        is_query, rows = rows >= 0, rows.to(tl.int64)
        is_there = is_query[:, None] & (p < P)[None, :]
        queries = head * GROUP + index % GROUP
        offsets = (rows * query_stride + queries * P)[:, None] + p[None, :]
        query = tl.load(query_ptr + offsets, mask=is_there, other=0.0)
        first = part * slots_per_part
        last = tl.minimum(first + slots_per_part, tl.load(lengths_ptr + prompt).to(tl.int32))
        entry = prompt * prompt_stride + head * head_stride
        total, largest, mixed = _attend_part(
            query, keys_ptr + entry, values_ptr + entry, slot_stride, first, last, scale,
            P, BLOCK_QUERIES, BLOCK_SLOTS, BLOCK_P,
        )  # fmt: skip
        place = (rows * tl.num_programs(1) * GROUP + queries) * parts + part
        tl.store(log_sums_ptr + place, _log_sum(total, largest), mask=is_query)
        mixed = mixed / tl.where(total > 0, total, 1.0)[:, None]
        tl.store(mixed_ptr + place[:, None] * P + p[None, :], mixed, mask=is_there)


@triton.jit
def merge_kernel(
    own_mixed_ptr, own_log_sums_ptr, prompt_mixed_ptr, prompt_log_sums_ptr, prompt_of_row_ptr, out_ptr, out_stride,
    OWN: tl.constexpr, PROMPT: tl.constexpr, P: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Merge the parts of one row and query head; the grid is (rows, query heads)."""
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    place = row * tl.num_programs(1) + head
    p = tl.arange(0, BLOCK_P)
    is_p = p < P
    largest, total, mixed = float("-inf"), 0.0, tl.zeros([BLOCK_P], tl.float32)
    for part in tl.static_range(OWN):
        log_sum = tl.load(own_log_sums_ptr + place * OWN + part)
        values = tl.load(own_mixed_ptr + (place * OWN + part) * P + p, mask=is_p, other=0.0)
        largest, total, mixed = _merge(largest, total, mixed, log_sum, values)
    if PROMPT > 0:
        if tl.load(prompt_of_row_ptr + row) >= 0:
            for part in tl.static_range(PROMPT):
                log_sum = tl.load(prompt_log_sums_ptr + place * PROMPT + part)
                values = tl.load(prompt_mixed_ptr + (place * PROMPT + part) * P + p, mask=is_p, other=0.0)
                largest, total, mixed = _merge(largest, total, mixed, log_sum, values)
    tl.store(out_ptr + row * out_stride + head * P + p, (mixed / total).to(out_ptr.dtype.element_ty), mask=is_p)


@triton.jit
def _merge(largest, total, mixed, log_sum, values):
    """Add a part to the parts before: their largest log-sum, and sum and mix relative to it."""
    larger = tl.maximum(largest, log_sum)
    origin = tl.where(larger == float("-inf"), 0.0, larger)  # all parts empty so far: exp(-inf - 0) is 0
    shrink, share = tl.exp(largest - origin), tl.exp(log_sum - origin)
    return larger, total * shrink + share, mixed * shrink + values * share


def attend(
    query: Tensor, own: KeyValues, lengths: Tensor, prompts: SharedPrompts | None, out: Tensor | None = None
) -> Tensor:
    """Attend to the own slots and to shared prompts; see `Attend`."""
    rows, heads, width = query.shape
    out = result(out, query, (rows, heads, width))
    assert query.stride()[1:] == out.stride()[1:] == (width, 1), "the heads of a row are not contiguous"
    own_parts = _attend_to_own(query, own, lengths)
    prompt_parts = Parts(own_parts.mixed, own_parts.log_sums) if prompts is None else _attend_to_prompts(query, prompts)
    merge_kernel[(rows, heads)](
        *own_parts, *prompt_parts, lengths if prompts is None else prompts.prompt_of_row, out, out.stride(0),
        OWN=own_parts.log_sums.shape[2], PROMPT=0 if prompts is None else prompt_parts.log_sums.shape[2],
        P=width, BLOCK_P=block(width), num_warps=1,
    )  # fmt: skip
    return out


def _attend_to_own(query: Tensor, own: KeyValues, lengths: Tensor) -> Parts:
    """Attend from each row to its slots."""
    rows, heads, width = query.shape
    _, groups, slots, _ = own.keys.shape
    _check_entries(own)
    num_parts = splits(rows * groups, slots, _LEAST_PART)
    parts = _empty_parts(query, num_parts)
    own_kernel[(rows, groups, num_parts)](
        query, *own, lengths, *parts,
        query.stride(0), *own.keys.stride()[:3], triton.cdiv(slots, num_parts), num_parts, width**-0.5,
        GROUP=heads // groups, P=width, BLOCK_QUERIES=block(heads // groups, _LEAST_QUERIES),
        BLOCK_SLOTS=_SLOTS[query.element_size()], BLOCK_P=block(width), num_warps=4, num_stages=2,
    )  # fmt: skip
    return parts


def _attend_to_prompts(query: Tensor, prompts: SharedPrompts) -> Parts:
    """Attend from blocks of rows to their prompts; parts of rows without one are left as they are."""
    heads, width = query.shape[1:]
    _, groups, slots, _ = prompts.entries.keys.shape
    blocks, rows_of_block = prompts.rows_of_block.shape
    _check_entries(prompts.entries)
    num_parts = splits(blocks * groups, slots, _LEAST_PART)
    parts = _empty_parts(query, num_parts)
    prompt_kernel[(blocks, groups, num_parts)](
        query, *prompts.entries, prompts.lengths, prompts.prompt_of_block, prompts.rows_of_block, *parts,
        query.stride(0), *prompts.entries.keys.stride()[:3], triton.cdiv(slots, num_parts), num_parts, width**-0.5,
        GROUP=heads // groups, P=width, ROWS=rows_of_block,
        BLOCK_QUERIES=block(rows_of_block * heads // groups, _LEAST_QUERIES),
        BLOCK_SLOTS=_SLOTS[query.element_size()], BLOCK_P=block(width),
        num_warps=2 * query.element_size(), num_stages=2,
    )  # fmt: skip
    return parts


def _empty_parts(query: Tensor, num_parts: int) -> Parts:
    rows, heads, width = query.shape
    mixed = torch.empty((rows, heads, num_parts, width), dtype=torch.float32, device=query.device)
    return Parts(mixed, torch.empty_like(mixed[..., 0]))


def _check_entries(entries: KeyValues) -> None:
    assert entries.keys.stride() == entries.values.stride(), "keys and values are laid out apart"
    assert entries.keys.stride(3) == 1, "the channels of a key are not contiguous"
