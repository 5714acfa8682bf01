"""Attention in parts is attention to all keys at once; keys past a row's length do not exist."""

import pytest
import torch

from timetrial_plugins.models.layers import Rotary
from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.step_ops import Place, SharedPrompts

# query heads, key/value heads, channels: Llama-3.2-1B and -3B, one head per group, sizes that are no powers of two
SHAPES = [(32, 8, 64), (6, 2, 128), (2, 2, 64), (4, 1, 96), (3, 1, 10)]
LENGTHS = [1, 63, 64, 130]
SLOTS = 130


def entries(draws, rows, groups, slots, width):
    return KeyValues(*(draws.normal(rows, groups, slots, width) for _ in range(2)))


def spoilt(entries, lengths):
    """The same keys and values, and what is not a number in the slots past each length."""
    is_past = torch.arange(entries.keys.shape[2]) >= lengths[:, None]
    return KeyValues(*(part.masked_fill(is_past[:, None, :, None], torch.nan) for part in entries))


def expected(query, own, lengths, prompts=None):
    """Softmax over all keys of a row at once, in float64."""
    rows, heads, width = query.shape
    results = []
    for row in range(rows):
        parts = [[part[row, :, : lengths[row]] for part in own]]
        if prompts is not None and (prompt := prompts.prompt_of_row[row]) >= 0:
            parts.append([part[prompt, :, : prompts.lengths[prompt]] for part in prompts.entries])
        keys, values = (torch.cat(kind, dim=1).double() for kind in zip(*parts, strict=True))
        keys, values = (part.repeat_interleave(heads // len(part), dim=0) for part in (keys, values))  # (H, S, P)
        weights = torch.softmax((keys @ query[row].double()[..., None])[..., 0] * width**-0.5, dim=-1)
        results.append((weights[:, None] @ values)[:, 0])
    return torch.stack(results)


def check(found, expected):
    tolerance = 1e-5 if found.dtype == torch.float32 else 2.0**-6
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=tolerance, atol=tolerance)


@pytest.fixture(params=["triton", "native", "reference"])
def ops(request):
    return REFERENCE if request.param == "reference" else request.getfixturevalue(request.param)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_attend_to_their_own_lengths(ops, draws, shape):
    heads, groups, width = shape
    lengths = torch.tensor(LENGTHS[:: 1 if heads < 8 else 2])
    own = spoilt(entries(draws, len(lengths), groups, SLOTS, width), lengths)
    query = draws.normal(len(lengths), heads, width)
    check(ops.attend(query, own, lengths, None), expected(query, own, lengths))


def test_a_long_row_is_split_and_its_parts_are_merged(ops, make_draws):
    draws = make_draws(torch.float32)
    lengths = torch.tensor([1500, 700])
    own = spoilt(entries(draws, 2, 1, 1536, 16), lengths)
    query = draws.normal(2, 2, 16) * 8  # far from uniform weights
    check(ops.attend(query, own, lengths, None), expected(query, own, lengths))


@pytest.mark.parametrize("shape", SHAPES[1:4], ids=str)
def test_a_prompt_is_merged_with_what_a_row_has_itself(ops, draws, shape):
    """Two prompts and an empty one; rows in no order; one row without a prompt, one with nothing of its own."""
    heads, groups, width = shape
    lengths, prompt_lengths = torch.tensor([3, 0, 5, 1, 17]), torch.tensor([70, 0, 33])
    prompts = SharedPrompts(
        entries=spoilt(entries(draws, 3, groups, 70, width), prompt_lengths),
        lengths=prompt_lengths,
        prompt_of_row=torch.tensor([2, 0, -1, 1, 0], dtype=torch.int32),
        prompt_of_block=torch.tensor([0, -1, 2, 1], dtype=torch.int32),
        rows_of_block=torch.tensor([[4, 1], [-1, -1], [0, -1], [3, -1]], dtype=torch.int32),
    )
    own = spoilt(entries(draws, 5, groups, 20, width), lengths)
    query = draws.normal(5, heads, width)
    check(ops.attend(query, own, lengths, prompts), expected(query, own, lengths, prompts))


def test_a_long_prompt_is_split(kernels, make_draws):
    draws = make_draws(torch.float32)
    lengths = torch.tensor([1, 2])
    prompts = SharedPrompts(
        entries=entries(draws, 1, 1, 600, 16),
        lengths=torch.tensor([590]),
        prompt_of_row=torch.zeros(2, dtype=torch.int32),
        prompt_of_block=torch.zeros(1, dtype=torch.int32),
        rows_of_block=torch.tensor([[0, 1, -1]], dtype=torch.int32),
    )
    own, query = entries(draws, 2, 1, 4, 16), draws.normal(2, 3, 16)
    check(kernels.attend(query, own, lengths, prompts), expected(query, own, lengths, prompts))


@pytest.mark.parametrize("shape", [(4, 2, 64), (3, 1, 10)], ids=str)
def test_heads_are_turned_and_stored_as_the_reference_does(kernels, draws, assert_close, shape):
    queries, groups, width = shape
    tables = Rotary(width, 10000.0, None).tables(50, torch.zeros(1))
    place = Place(tables.cos, tables.sin, torch.tensor([0, 7, 49]), torch.tensor([4, 0, 2]))
    heads = draws.normal(3, queries + 2 * groups, width)
    own = entries(draws, 3, groups, 5, width)
    ours, theirs = (KeyValues(*(part.clone() for part in own)) for _ in range(2))
    turned = heads.clone()
    found, expected = kernels.rotate_and_store(turned, place, ours), REFERENCE.rotate_and_store(heads, place, theirs)
    assert_close(found, expected)
    assert_close(turned, heads)
    for stored, reference in zip(ours, theirs, strict=True):
        assert_close(stored, reference)
    assert found.data_ptr() == turned.data_ptr()
    assert torch.equal(ours.keys[1, :, 1:], own.keys[1, :, 1:]), "another slot was written"


@pytest.mark.parametrize("shape", [(8, 2, 32), (5, 1, 64), (4, 2, 64), (6, 2, 80), (3, 3, 128)], ids=str)
@pytest.mark.parametrize("length", [1, 7, 8, 9, 63, 64, 65, 128, 300])
def test_tiles_of_slots_are_put_together(native, make_draws, shape, length):
    """Lengths about the borders of tiles and vectors, with and without a prompt before, and sharers of every number."""
    heads, groups, width = shape
    draws = make_draws(torch.float32)
    lengths = torch.tensor([length, 1])
    own = spoilt(entries(draws, 2, groups, 300, width), lengths)
    prompts = SharedPrompts(
        entries=entries(draws, 1, groups, 140, width),
        lengths=torch.tensor([133]),
        prompt_of_row=torch.tensor([0, -1], dtype=torch.int32),
        prompt_of_block=torch.zeros(1, dtype=torch.int32),
        rows_of_block=torch.tensor([[0, -1]], dtype=torch.int32),
    )
    query = draws.normal(2, heads, width) * 3
    for shared in (None, prompts):
        check(native.attend(query, own, lengths, shared), expected(query, own, lengths, shared))
