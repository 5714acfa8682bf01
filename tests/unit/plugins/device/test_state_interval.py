"""A Llamba whose states are written every L steps draws the same and moves less; what has no such steps is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from timetrial.cli.main import run_command_line
from timetrial.clock import MonotonicClock
from timetrial.error import UsageError
from timetrial.protocol import Sampling
from timetrial.spec import LoadOptions
from timetrial_plugins.device.recipe import replay_recipe
from timetrial_plugins.device.replay_memory import state_traffic
from timetrial_plugins.device.steps import begin_steps, trials_of
from timetrial_plugins.engine.batch import DecodeBatch
from timetrial_plugins.engine.graph import Bucket
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.engine.random_weights import build_random
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.engine.step_plan import StepPlan, choose_plan
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.ops.activation import ActiveOps
from timetrial_plugins.ops.reference import REFERENCE, fold

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GREEDY = Sampling(temperature=0.0)
PLAN = StepPlan(kernels="triton", is_recorded=True, reasons=(), state_interval=4)
INTERVALS = pytest.mark.parametrize("interval", [2, 4, 16])
LLAMBA = {
    "vocab_size": 61, "d_model": 48, "n_layer": 2, "tie_embeddings": True, "mlp_cfg": {"intermediate_size": 64},
    "ssm_cfg": {"d_state": 8, "n_v_heads": 6, "n_qk_heads": 3},
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "vocab_size": 61, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip


@pytest.fixture
def module(build_shape):
    return build_shape("llamba")


@pytest.fixture(params=[pytest.param("triton", marks=pytest.mark.slow), "reference"])
def ops(request):
    return REFERENCE if request.param == "reference" else request.getfixturevalue(request.param)


class Plain:
    """Records nothing and calls the work."""

    def warm_up(self, work):
        work()

    def record(self, work):
        return work


def active(kernels, recipe, *, broken=()):
    if kernels in broken:
        raise OSError("no such compiler")
    return ActiveOps(ops=REFERENCE, default=kernels, measurements=())


# What is drawn, and what is kept


@INTERVALS
def test_rows_that_come_leave_and_move_at_any_time_draw_what_whole_sequences_say(company, ops, interval):
    """The rows' states are due at different steps; 3 rows are run with an idle one."""
    rows = company(ops, 4, 60, state_interval=interval)
    rows.admit(0, 100, 101)
    rows.advance(3)
    rows.admit(1, 102)
    rows.advance(interval)
    rows.drop(0)
    rows.advance(1)
    rows.admit(2, 103, 104)
    rows.advance(interval + 3)
    rows.drop(1, 3)
    rows.advance(interval + 1)
    rows.drop(0, 1)
    rows.admit(0, 105)
    rows.advance(2)


def test_triton_kernels_draw_what_whole_sequences_say(company, triton):
    rows = company(triton, 2, 16, state_interval=2)
    rows.admit(0, 100)
    rows.admit(1, 101)
    rows.advance(4)
    rows.drop(0)
    rows.advance(1)


@INTERVALS
def test_prepared_steps_are_recorded_before_the_first_and_change_nothing(
    module, ops, start, expected, prompts, interval
):
    batch = start(module, ops, 3, 40, state_interval=interval)
    batch.prepare(3, 3, 30)
    assert batch._runner.recorded == (Bucket(3, 1),)
    batch.admit(batch.prefill(prompts[1]), [7, 8])
    drawn = torch.stack([batch.advance() for _ in range(interval + 2)], dim=1).tolist()
    assert drawn == [expected(module, prompts[1], stream, interval + 2) for stream in (7, 8)]
    assert batch._runner.problem is None


@INTERVALS
def test_a_folded_state_is_that_of_steps_that_write_it_at_once(module, ops, start, prompts, interval):
    """Rows of different fills, one of which takes the place of another in the middle of a cycle."""
    batches = [start(module, each, 3, 60, state_interval=every) for each, every in ((ops, interval), (REFERENCE, 1))]
    for number in range(2 * interval + 3):
        for batch in batches:
            if number == interval + 2:
                batch.drop([0])
            if number in (0, 1):
                batch.admit(batch.prefill(prompts[number]), [number])
            batch.advance()
        bucket = Bucket(batches[0].size, 1)
        ours, plain = (batch._memory.view(bucket) for batch in batches)
        for (memory, fill), written in zip(ours.replayed, plain.memories, strict=True):
            torch.testing.assert_close(fold(memory, fill), written.state, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(memory.window, written.window)


def test_each_row_has_its_state_written_after_its_own_number_of_steps_and_idle_rows_never(module, start, prompts):
    batch = start(module, REFERENCE, 4, 60, state_interval=4)
    states, changed = batch._memory._buffers["ssm"], []
    batch.admit(batch.prefill(prompts[0]), [1])
    for number in range(9):
        if number == 1:
            batch.admit(batch.prefill(prompts[1]), [2, 3])
        before = states.clone()
        batch.advance()
        changed.append((states != before).flatten(2).any(dim=2).all(dim=0).tolist())
    written = [[row for row in range(4) if step[row]] for step in changed]
    assert written == [[], [], [], [0], [1, 2], [], [], [0], [1, 2]]
    assert batch._memory._fill.tolist() == [1, 0, 0, 0]


def test_a_row_in_the_place_of_another_brings_what_it_keeps_and_a_new_one_keeps_nothing(module, start, prompts):
    batch = start(module, REFERENCE, 3, 60, state_interval=16)
    batch.admit(batch.prefill(prompts[0]), [1, 2])
    for _ in range(2):
        batch.advance()
    batch.admit(batch.prefill(prompts[1]), [3])
    batch.advance()
    memory = batch._memory
    moved = [part[:, 2].clone() for part in memory._kept]
    assert memory._fill.tolist() == [3, 3, 1]
    batch.drop([0])
    assert memory._fill.tolist() == [1, 3, 0]
    assert all(torch.equal(part[:, 0], kept) for part, kept in zip(memory._kept, moved, strict=True))
    batch.admit(batch.prefill(prompts[1]), [4])
    assert memory._fill.tolist() == [1, 3, 0]
    with torch.inference_mode():
        memory.put(batch.prefill(prompts[0]).state, 0, [1], [5], is_shared=False)
    assert memory._fill.tolist() == [1, 0, 0]


@pytest.mark.parametrize("state_dtype", [None, torch.bfloat16], ids=["float32 states", "bfloat16 states"])
def test_in_half_formats_logits_are_those_of_the_modules_own_steps(module, start, prompts, state_dtype):
    module.to(torch.bfloat16).state_dtype = state_dtype
    own = DecodeBatch(module, Sampler(GREEDY), 3, 20)
    recorded = start(module, REFERENCE, 3, 20, GREEDY, state_interval=4)
    for batch in (own, recorded):
        batch.admit(batch.prefill(prompts[0]), [1, 2])
        batch.admit(batch.prefill(prompts[1]), [3])
    for _ in range(6):
        assert torch.equal(recorded.advance(), own.advance())
        torch.testing.assert_close(recorded._step.logits[:3], own._logits, rtol=0.05, atol=0.15)
    assert recorded._memory._kept.x.dtype == torch.bfloat16
    assert recorded._memory._kept.log_decay.dtype == torch.float32


def test_libraries_are_tried_with_the_operation_that_the_model_calls(module):
    trials = trials_of(module, replay_recipe(module, 4))
    assert list(trials) == ["llamba_replay"]
    with torch.inference_mode():
        assert REFERENCE.llamba_replay(*trials["llamba_replay"]).isfinite().all()


# What a step moves


@INTERVALS
def test_bytes_are_those_of_a_whole_cycle_counted_step_by_step(module, start, interval):
    memory = start(module, REFERENCE, 1, 8, state_interval=interval)._memory
    windows, states, moved = 0, 0, 0
    for part, _ in memory.view(Bucket(1, 1)).replayed:
        channels, size = part.window.shape[1], part.window.element_size()
        windows += channels * 4 * size  # as published, see docs/models.md
        states += part.state.nbytes
        entry = sum(kept.nbytes for kept in part[2:]) // interval
        moved += sum((fill + 1) * entry for fill in range(interval))  # those kept are read, one is written
    moved += interval * (2 * windows + states) + states
    assert state_traffic(module, interval) == pytest.approx(moved / interval)
    assert state_traffic(module, 1) == 2 * (windows + states)


@pytest.mark.parametrize(
    ("layers_of", "state_dtype", "expected"),
    [
        ({"d_model": 2048, "heads": 32}, None, 524288 * 17 / 16 + 8320 * 17 / 2),
        ({"d_model": 3072, "heads": 24}, torch.bfloat16, 786432 * 17 / 16 + 12384 * 17 / 2),
    ],
    ids=["llamba-1b, float32 states", "llamba-4b, bfloat16 states"],
)
def test_a_layer_of_the_published_shapes_moves_what_the_equation_says(layers_of, state_dtype, expected):
    heads, width = layers_of["heads"], layers_of["d_model"] // layers_of["heads"]
    config = LLAMBA | {"d_model": layers_of["d_model"], "n_layer": 1}
    config |= {"ssm_cfg": {"d_state": width, "n_v_heads": heads, "n_qk_heads": heads}}
    with torch.device("meta"):
        published = BUILDERS["llamba"](config).to(torch.bfloat16)
    published.state_dtype = state_dtype
    windows = 2 * 3 * layers_of["d_model"] * 4 * 2
    assert state_traffic(published, 16) == pytest.approx(windows + expected)


# What a model says, and what is refused


@pytest.fixture
def model(module):
    """The module as a model whose states are written every 4 steps."""
    small = build_random(LLAMBA, LoadOptions(device="cpu", kernels="eager"), family="llamba", build=BUILDERS["llamba"])
    checkpoint = replace(small._checkpoint, module=module, plan=PLAN)
    return EngineModel(checkpoint, begin=lambda module, plan, device: begin_steps(module, plan, active, Plain))


def test_a_model_records_the_interval_and_counts_by_it(model, module, monkeypatch):
    monkeypatch.setattr(EngineModel, "_origin", lambda self: {})
    assert model.description["state_interval"] == 4
    assert model.description["kernels"].startswith("triton, cuda graphs, states written every 4 steps")
    assert model.costs(3, 10).bytes_moved == module.footprint.weight_bytes + 3 * state_traffic(module, 4)
    assert model.decode_timing(2, 5, 8, clock=MonotonicClock(), seed=0).decode_s > 0


def test_where_states_are_written_every_step_no_interval_is_recorded():
    for config, family in ((LLAMBA, "llamba"), (LLAMA, "llama")):
        options = LoadOptions(device="cpu", kernels="eager")
        model = build_random(config, options, family=family, build=BUILDERS[family])
        assert "state_interval" not in model.description
        footprint = model._module.footprint
        assert model.costs(1, 0).bytes_moved == footprint.weight_bytes + 2 * footprint.state_bytes


def test_pytorch_operations_stand_in_for_kernels_that_fail_with_the_same_interval(module, start):
    begun = begin_steps(module, PLAN, lambda *asked: active(*asked, broken=["triton"]), Plain)
    how = "pytorch, cuda graphs, states written every 4 steps"
    assert begun.steps.kernels == f"{how} (triton kernels failed (OSError: no such compiler))"
    batch = begun.steps.start(Sampler(GREEDY), 1, 8)
    assert batch._memory.view(Bucket(1, 1)).replayed[0][0].x.shape[2] == 4


def test_where_no_step_works_the_interval_is_refused_not_ignored(module):
    with pytest.raises(
        UsageError, match=r"written every 4 steps were asked for, .*: triton kernels failed .*pytorch k"
    ):
        begin_steps(module, PLAN, lambda *asked: active(*asked, broken=["triton", "pytorch"]), Plain)


@pytest.mark.parametrize("shape", ["llama", "hybrid with mamba-1", "hybrid with mamba-2"])
def test_a_family_without_such_steps_is_refused(build_shape, shape):
    with pytest.raises(UsageError, match="state interval is 4, and this model is a .*: only a Llamba"):
        begin_steps(build_shape(shape), PLAN, active, Plain)


def test_a_family_without_such_steps_is_refused_before_its_weights_are_made(monkeypatch):
    monkeypatch.setattr("timetrial_plugins.engine.random_weights.choose_plan", lambda options, device: PLAN)
    monkeypatch.setattr(torch.nn.Module, "to_empty", lambda *arguments, **options: pytest.fail("weights were made"))
    options = LoadOptions(device="cpu", state_interval=4)
    with pytest.raises(UsageError, match="this model is a Llama: only a Llamba"):
        build_random(LLAMA, options, family="llama", build=BUILDERS["llama"])


@pytest.mark.parametrize("interval", [0, -3, "many", 2.5])
def test_an_interval_that_is_none_is_refused(interval):
    with pytest.raises(UsageError, match=f"state interval is {interval!r}: expected a whole number of steps, 1"):
        choose_plan(LoadOptions(state_interval=interval), CUDA)


@pytest.mark.parametrize("kernels", ["auto", "native", "eager", "triton"])
def test_on_a_cpu_it_is_refused_with_the_reason(kernels):
    with pytest.raises(UsageError, match="state interval is 4, and the device is a CPU, .* on GPUs"):
        choose_plan(LoadOptions(state_interval=4, kernels=kernels), CPU)


@pytest.mark.parametrize("others", [{"kernels": "eager"}, {"compile": True}], ids=lambda others: next(iter(others)))
def test_the_modules_own_steps_have_none(others):
    with pytest.raises(UsageError, match="the modules' own steps, which write states every step"):
        choose_plan(LoadOptions(state_interval=4, **others), CUDA)


@pytest.mark.parametrize("kernels", ["auto", "triton", "pytorch"])
def test_recorded_steps_of_any_kernels_have_it(monkeypatch, kernels):
    best = StepPlan(kernels="triton", is_recorded=True, reasons=())
    monkeypatch.setattr("timetrial_plugins.engine.step_plan.implementations_on", lambda device: ())
    monkeypatch.setattr("timetrial_plugins.engine.step_plan.plan_steps", lambda facts, found: best)
    plan = choose_plan(LoadOptions(state_interval=16, kernels=kernels), CUDA)
    assert plan.state_interval == 16 and plan.is_recorded
    assert plan.kernels == ("pytorch" if kernels == "pytorch" else "triton")


def test_a_timing_is_refused_on_a_cpu_and_at_tokens_that_are_no_whole_cycles(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(LLAMBA | {"model_type": "llamba"}))
    command = ["time", "--random-weights", str(tmp_path), "--batch", "1", "--prompt-tokens", "4", "--repeats", "1"]
    command += ["--device", "cpu", "--out", str(tmp_path / "run"), "-q", "--state-interval", "4", "--new-tokens"]
    assert run_command_line([*command, "6"]) != 0
    assert "new tokens is 6, and states are written every 4 steps: expected a multiple" in capsys.readouterr().err
    assert run_command_line([*command, "8"]) != 0
    assert "state interval is 4, and the device is a CPU" in capsys.readouterr().err
