"""Steps on a device, recorded and replayed, draw what whole sequences say, whatever rows come and go."""

from __future__ import annotations

import pytest
import torch

from timetrial.protocol import Sampling
from timetrial_plugins.engine.batch import DecodeBatch
from timetrial_plugins.engine.graph import Bucket
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.ops.reference import REFERENCE


def test_triton_kernels_draw_what_whole_sequences_say(company, triton):
    """Two eager steps, one that is recorded, and replays of it, of rows of different lengths."""
    rows = company(triton, 2, 16)
    rows.admit(0, 100)
    rows.admit(1, 101)
    rows.advance(4)
    rows.drop(0)
    rows.advance(1)


def test_rows_of_different_lengths_come_and_go_without_a_trace(company, ops):
    rows = company(ops, 4, 30)
    rows.admit(0, 100, 101)
    rows.admit(1, 102)
    rows.advance(5)
    rows.drop(0)
    rows.advance(1)
    rows.admit(2, 103, 104)
    rows.advance(4)
    rows.drop(1, 2, 3)
    rows.advance(3)
    assert {bucket.rows for bucket in rows.batch._runner.recorded} == {1, 3, 4}


def test_prompts_are_shared_by_those_that_come_together_and_copied_for_the_others(company, ops):
    rows = company(ops, 12, 30, shares_prompts=True)
    rows.admit(0, *range(9))
    rows.admit(1, 20)
    rows.advance(4)
    rows.drop(0, 3, 9)
    rows.admit(2, 30)
    rows.advance(4)
    rows.drop(*range(rows.batch.size))
    rows.admit(1, *range(40, 48))
    rows.advance(1)


@pytest.mark.parametrize("shares_prompts", [False, True], ids=["own prompts", "shared prompts"])
def test_completions_come_in_the_places_of_those_that_left_and_nobody_moves(company, ops, shares_prompts):
    rows = company(ops, 12, 30, shares_prompts=shares_prompts)
    rows.admit(0, *range(9))
    rows.admit(1, 20, 21)
    rows.advance(3)
    others = {row: rows.rows[row] for row in (0, 2, 3, 4, 6, 7, 8, 9)}
    rows.drop(5, 1, 10, num_next=4)
    assert rows.batch.size == 11
    rows.admit(2, 30, 31)
    rows.admit(0, 32, 33)
    assert [rows.rows[row] for row in (1, 5, 10, 11)] == [(2, 30), (2, 31), (0, 32), (0, 33)]
    assert all(rows.rows[row] == other for row, other in others.items())
    rows.advance(4)


def test_places_that_nobody_is_waiting_for_are_closed(company, ops):
    rows = company(ops, 5, 30)
    rows.admit(0, *range(5))
    rows.advance(2)
    rows.drop(0, 2, 3, num_next=1)
    assert rows.batch.size == 3 and rows.rows[1:] == [(0, 1), (0, 4)]
    with pytest.raises(AssertionError, match=r"rows \[0\] were kept"):
        rows.batch.advance()
    rows.admit(2, 30)
    assert rows.rows[0] == (2, 30)
    rows.advance(3)


def test_past_the_first_128_slots_another_bucket_is_recorded(company, ops):
    rows = company(ops, 2, 150)
    rows.admit(3, 100)
    rows.admit(0, 101)
    rows.advance(6)
    recorded = rows.batch._runner.recorded
    assert recorded == ((Bucket(2, 150),) if rows.batch._memory.has_slots else (Bucket(2, 1),))


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=0.0), Sampling(temperature=0.7, top_k=5), Sampling(temperature=1.0, top_p=0.6)],
    ids=["greedy", "top-k", "top-p"],
)
def test_every_way_of_drawing_is_recorded(module, ops, start, expected, prompts, sampling):
    batch = start(module, ops, 2, 12, sampling)
    batch.admit(batch.prefill(prompts[1]), [7, 8])
    drawn = torch.stack([batch.advance() for _ in range(5)], dim=1).tolist()
    assert drawn == [expected(module, prompts[1], stream, 5, sampling) for stream in (7, 8)]
    assert batch._runner.problem is None and batch._runner.recorded


def test_prepared_steps_are_recorded_before_the_first_and_change_nothing(module, ops, start, expected, prompts):
    batch = start(module, ops, 2, 140)
    batch.prepare(2, 3, 138)
    recorded = batch._runner.recorded
    assert recorded == ((Bucket(2, 128), Bucket(2, 140)) if batch._memory.has_slots else (Bucket(2, 1),))
    batch.admit(batch.prefill(prompts[1]), [7, 8])
    drawn = torch.stack([batch.advance() for _ in range(4)], dim=1).tolist()
    assert drawn == [expected(module, prompts[1], stream, 4) for stream in (7, 8)]
    assert batch._runner.recorded == recorded


@pytest.mark.parametrize("state_dtype", [None, torch.bfloat16], ids=["float32 states", "bfloat16 states"])
def test_in_half_formats_logits_are_those_of_the_modules_own_steps(module, start, prompts, state_dtype):
    module.to(torch.bfloat16).state_dtype = state_dtype
    sampler = Sampler(Sampling(temperature=0.0))
    own, recorded = DecodeBatch(module, sampler, 3, 20), start(module, REFERENCE, 3, 20, Sampling(temperature=0.0))
    for batch in (own, recorded):
        batch.admit(batch.prefill(prompts[0]), [1, 2])
        batch.admit(batch.prefill(prompts[1]), [3])
    for _ in range(5):
        assert torch.equal(recorded.advance(), own.advance())
        assert recorded._step.logits.dtype == torch.float32
        torch.testing.assert_close(recorded._step.logits[:3], own._logits, rtol=0.05, atol=0.15)
