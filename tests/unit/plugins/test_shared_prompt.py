"""Attention in parts, merged by their log-sum-exp, is attention to everything.

Shapes: B rows, K key/value heads, G query heads that share one, P channels per head, S slots.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from timetrial_plugins.models.shared_prompt import (
    Attended,
    KeyValues,
    PromptRows,
    Segment,
    attend,
    attend_in_segments,
    attend_plainly,
    attend_to_both,
    attend_to_prompts,
    merge,
)

B, K, G, P = 5, 2, 3, 8
ATTENDS = [attend, attend_plainly]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def entries(rows: int, slots: int, seed: int, dtype: torch.dtype = torch.float64) -> KeyValues:
    return KeyValues(
        draw(rows, K, slots, P, seed=seed, dtype=dtype), draw(rows, K, slots, P, seed=seed + 1, dtype=dtype)
    )


def by_definition(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend from one row's query (K, G, P) to keys and values (K, S, P)."""
    scores = torch.einsum("kgp,ksp->kgs", query, keys) / P**0.5
    return torch.einsum("kgs,ksp->kgp", scores.softmax(dim=-1), values)


@pytest.mark.parametrize("function", ATTENDS)
def test_slots_with_a_bias_of_minus_infinity_are_not_there(function: Callable[..., Attended]) -> None:
    query, own = draw(B, K, G, P), entries(B, 9, 1)
    lengths = torch.tensor([1, 9, 4, 2, 8])
    bias = torch.zeros(B, 9, dtype=torch.float64).masked_fill_(torch.arange(9) >= lengths[:, None], -torch.inf)
    mixed, log_sum = function(query, own, bias[:, None, None])
    for row, length in enumerate(lengths):
        keys, values = own.keys[row, :, :length], own.values[row, :, :length]
        assert torch.allclose(mixed[row], by_definition(query[row], keys, values), atol=1e-12)
        scores = torch.einsum("kgp,ksp->kgs", query[row], keys) / P**0.5
        assert torch.allclose(log_sum[row], scores.logsumexp(dim=-1), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_kernel_is_the_definition(dtype: torch.dtype) -> None:
    query, own = draw(B, K, G, P, dtype=dtype), entries(B, 33, 1, dtype)
    fast, plain = attend(query, own, None), attend_plainly(query, own, None)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    assert fast.mixed.dtype == dtype and fast.log_sum.dtype == plain.log_sum.dtype
    assert torch.allclose(fast.mixed, plain.mixed, atol=tolerance)
    assert torch.allclose(fast.log_sum, plain.log_sum, atol=tolerance)


@pytest.mark.parametrize("rows", [[None], [[0, 1, 2, 3, 4]], [[0, 3], [4, 1, 2]], [[4, 2]]], ids=str)
def test_parts_merge_to_attention_to_prompt_and_own_keys(rows: list[list[int] | None]) -> None:
    query, own = draw(B, K, G, P), entries(B, 6, 1)
    prompts = [
        PromptRows(None if some is None else torch.tensor(some), entries(1, 4 + 7 * index, 10 + index))
        for index, some in enumerate(rows)
    ]
    merged = merge(attend_to_prompts(query, prompts), attend(query, own, None))
    prompt_of = {row: p.entries for p in prompts for row in (range(B) if p.rows is None else p.rows.tolist())}
    for row in range(B):
        keys, values = own.keys[row], own.values[row]
        if row in prompt_of:
            keys = torch.cat((prompt_of[row].keys[0], keys), dim=1)
            values = torch.cat((prompt_of[row].values[0], values), dim=1)
        assert torch.allclose(merged[row], by_definition(query[row], keys, values), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("rows", [[], [None], [[0, 3], [4, 1, 2]], [[4, 2]]], ids=str)
def test_attention_to_both_is_the_merge_of_the_definitions(
    rows: list[list[int] | None], has_bias: bool, dtype: torch.dtype
) -> None:
    query, own = draw(B, K, G, P, dtype=dtype), entries(B, 6, 1, dtype)
    bias = torch.zeros(B, 1, 1, 6, dtype=dtype)
    bias[1, ..., 4:] = bias[3, ..., 1:] = -torch.inf
    prompts = [
        PromptRows(None if some is None else torch.tensor(some), entries(1, 4 + 7 * index, 10 + index, dtype))
        for index, some in enumerate(rows)
    ]
    both = attend_to_both(query, own, bias if has_bias else None, prompts)
    expected = attend_plainly(query, own, bias if has_bias else None)
    mixed = merge(attend_to_prompts(query, prompts), expected) if prompts else expected.mixed
    assert both.dtype == dtype
    assert torch.allclose(both, mixed, atol={torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype])


def test_a_buffer_of_keys_by_channels_gives_the_same() -> None:
    query, own = draw(B, K, G, P), entries(B, 6, 1)
    by_channels = KeyValues(own.keys.mT.contiguous().mT, own.values)
    assert torch.allclose(attend_to_both(query, by_channels, None, []), attend_to_both(query, own, None, []))


@pytest.mark.parametrize("rows", [[], [None], [[0, 3], [4, 1, 2]], [[4, 2]]], ids=str)
def test_rows_in_segments_attend_as_each_does_by_itself(rows: list[list[int] | None]) -> None:
    query, own, lengths = draw(B, K, G, P), entries(B, 9, 1), torch.tensor([9, 7, 3, 3, 3])
    bias = torch.zeros(B, 9, dtype=torch.float64).masked_fill_(torch.arange(9) >= lengths[:, None], -torch.inf)
    bias = bias[:, None, None]
    prompts = [
        PromptRows(None if some is None else torch.tensor(some), entries(1, 4 + 7 * index, 10 + index))
        for index, some in enumerate(rows)
    ]
    short = KeyValues(own.keys[2:, :, :3], own.values[2:, :, :3])
    segments = [
        Segment(slice(0, 2), KeyValues(own.keys[:2], own.values[:2]), bias[:2]),
        Segment(slice(2, B), short, None),
    ]
    expected = attend_to_both(query, own, bias, prompts)
    assert torch.allclose(attend_in_segments(query, segments, prompts), expected, atol=1e-12)
    whole = [Segment(slice(B), own, bias)]
    assert torch.equal(attend_in_segments(query, whole, prompts), expected)


@pytest.mark.parametrize("shift", [0.0, 300.0, -300.0])
def test_the_merge_holds_where_one_part_outweighs_the_other(shift: float) -> None:
    query = draw(B, K, G, P, dtype=torch.float32)
    first, second = entries(B, 6, 1, torch.float32), entries(B, 6, 3, torch.float32)
    a, b = attend(query, first, None), attend(query, second, None)
    merged = merge(Attended(a.mixed, a.log_sum + shift), b)
    share = torch.sigmoid((a.log_sum + shift - b.log_sum).double())[..., None]
    assert torch.allclose(merged.double(), share * a.mixed.double() + (1 - share) * b.mixed.double(), atol=1e-6)
