"""Recorded steps of native kernels are those made one by one, and what cannot be recorded is done and said."""

from __future__ import annotations

import pytest
import torch

from timetrial.protocol import Sampling
from timetrial_plugins.device.native_runner import NativeRunner
from timetrial_plugins.device.steps import begin_native
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.engine.step_plan import StepPlan
from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.native.library import Calls

pytestmark = pytest.mark.skipif(build_problem() is not None, reason=str(build_problem()))

PLAN = StepPlan(kernels="native", is_recorded=False, reasons=())


def begin(module, *, is_packed=True):
    module.keep()
    steps = begin_native(module, PLAN).steps
    if is_packed:
        module.pack(steps.products)
    return steps


def one_by_one(runner):
    """Let a runner do without recordings what it does."""
    runner._parts = [runner._plain(runner._step)]


def decoded(steps, prompts, *, is_recorded, shares_prompts):
    """Logits to the bit, while rows come and go."""
    batch = steps.start(Sampler(Sampling(temperature=1.0)), 12, 64, shares_prompts=shares_prompts)
    assert isinstance(batch._runner, NativeRunner)
    if not is_recorded:
        one_by_one(batch._runner)
    seen = []

    def advance(count):
        for _ in range(count):
            tokens = batch.advance()
            seen.append((tokens, batch._step.logits[: batch.size].clone()))

    batch.admit(batch.prefill(prompts[0]), range(9))
    advance(3)
    batch.admit(batch.prefill(prompts[1]), range(20, 23))
    advance(3)
    batch.drop([0, 4, 5, 10])
    advance(3)
    batch.drop(range(1, batch.size))
    advance(2)
    return seen


@pytest.mark.parametrize("shares_prompts", [False, True])
def test_recorded_steps_are_those_made_one_by_one_whatever_rows_there_are(module, prompts, shares_prompts):
    steps = begin(module)
    found, expected = (
        decoded(steps, prompts, is_recorded=is_recorded, shares_prompts=shares_prompts) for is_recorded in (True, False)
    )
    assert steps.problem is None and steps.kernels == "native"
    assert [len(tokens) for tokens, _ in found] == [9] * 3 + [12] * 3 + [8] * 3 + [1] * 2
    for (tokens, logits), (other_tokens, other_logits) in zip(found, expected, strict=True):
        assert torch.equal(tokens, other_tokens) and torch.equal(logits, other_logits)


def test_weights_that_are_not_packed_are_multiplied_by_pytorch_and_that_is_said(module, prompts):
    steps = begin(module, is_packed=False)
    decoded(steps, prompts, is_recorded=True, shares_prompts=False)
    assert "native (a step calls aten." in steps.kernels and "no function of the native kernels" in steps.kernels


@pytest.mark.parametrize("others", [{"top_k": 3}, {"top_p": 0.8}])
def test_where_pytorch_draws_tokens_reading_them_is_recorded_all_the_same(module, prompts, others, expected):
    sampling = Sampling(temperature=1.0, **others)
    steps = begin(module)
    batch = steps.start(Sampler(sampling), 4, 64)
    batch.admit(batch.prefill(prompts[0]), [3, 4])
    drawn = torch.stack([batch.advance() for _ in range(6)], dim=1).tolist()
    assert drawn == [expected(module, prompts[0], stream, 6, sampling) for stream in (3, 4)]
    assert steps.problem is None
    assert [isinstance(part, Calls) for part in batch._runner._parts] == [False, True, True]
