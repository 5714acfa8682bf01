"""A plan becomes steps that were seen to work, the next best that do, or the module's own, each with its reasons."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from timetrial.clock import MonotonicClock
from timetrial.error import UnknownNameError, UsageError
from timetrial.protocol import Sampling
from timetrial.spec import LoadOptions
from timetrial_plugins.device.recipe import recipe_of
from timetrial_plugins.device.steps import begin_native, begin_steps, trials_of
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.engine.random_weights import build_random
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.engine.step_plan import OWN_STEPS, StepPlan, asked_plan, choose_plan
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.ops.activation import ActiveOps
from timetrial_plugins.ops.native.build import BuildError, build_problem
from timetrial_plugins.ops.reference import REFERENCE

BEST = StepPlan(kernels="triton", is_recorded=True, reasons=())
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GREEDY = Sampling(temperature=0.0)


class Recorder:
    """Records nothing and calls the work; fails at the recording of that number."""

    num_recorded = 0

    def __init__(self, fails_at=None):
        self.fails_at = fails_at

    def warm_up(self, work):
        work()

    def record(self, work):
        Recorder.num_recorded += 1
        if self.fails_at is not None and Recorder.num_recorded >= self.fails_at:
            raise RuntimeError("operation not permitted when stream is capturing")
        return work


@pytest.fixture
def has_compiler():
    if (problem := build_problem()) is not None:
        pytest.skip(problem)


@pytest.fixture(autouse=True)
def count_anew():
    Recorder.num_recorded = 0


def active(kernels, recipe=None, *, broken=()):
    if kernels in broken:
        raise OSError("no such compiler")
    return ActiveOps(ops=REFERENCE, default=kernels, measurements=())


def test_the_plan_is_followed_where_it_works(module):
    begun = begin_steps(module, BEST, active, Recorder)
    assert begun.steps.kernels == "triton, cuda graphs" and begun.reasons == ()


def test_what_does_not_work_is_replaced_by_what_does_and_named(module):
    begun = begin_steps(module, BEST, partial(active, broken=["triton"]), Recorder)
    assert begun.steps.kernels == "pytorch, cuda graphs (triton kernels failed (OSError: no such compiler))"


def test_where_nothing_can_be_recorded_the_modules_own_steps_are_used(module):
    begun = begin_steps(module, BEST, active, partial(Recorder, fails_at=1))
    assert begun.steps is None
    problem = "recording a CUDA graph failed (operation not permitted when stream is capturing)"
    assert begun.reasons == (problem, problem)


@pytest.mark.parametrize(("broken", "fails_at"), [(["triton"], None), ([], 1)], ids=["kernels", "graphs"])
def test_what_was_asked_for_is_not_replaced(module, broken, fails_at):
    asked = replace(BEST, is_asked=True)
    with pytest.raises(UsageError, match=r"'triton' were asked for and do not work here: .*--kernels auto"):
        begin_steps(module, asked, partial(active, broken=broken), partial(Recorder, fails_at=fails_at))


def test_memory_that_does_not_suffice_is_no_reason_for_other_kernels(module):
    class Full(Recorder):
        def record(self, work):
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        begin_steps(module, BEST, active, Full)


def test_a_family_without_a_recipe_keeps_its_own_steps():
    class Other(torch.nn.Module):
        pass

    begun = begin_steps(Other(), BEST, active, Recorder)
    assert begun == (None, ("a Other has no step for devices",))


def test_a_graph_that_fails_later_is_told_and_not_tried_again(module):
    steps = begin_steps(module, BEST, active, partial(Recorder, fails_at=2)).steps
    batch = steps.start(Sampler(GREEDY), 2, 8)
    batch.prepare(2, 1, 2)
    assert steps.kernels == (
        "triton, eager (recording a CUDA graph failed (operation not permitted when stream is capturing))"
    )
    number = Recorder.num_recorded
    steps.start(Sampler(GREEDY), 2, 8).prepare(2, 1, 2)
    assert Recorder.num_recorded == number


@pytest.fixture
def model(module):
    """The module as a model whose steps are planned as graphs."""
    config = {"model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8}
    config |= {"num_hidden_layers": 1, "num_attention_heads": 1}
    small = build_random(config, LoadOptions(device="cpu"), family="llama", build=BUILDERS["llama"])
    checkpoint = replace(small._checkpoint, module=module, plan=BEST)
    return EngineModel(checkpoint, begin=lambda module, plan, device: begin_steps(module, plan, active, Recorder))


def test_a_model_is_timed_on_prepared_steps_and_says_how(model, monkeypatch):
    recorded_before_timing = []
    clock = MonotonicClock(lambda: recorded_before_timing.append(Recorder.num_recorded))
    times = model.decode_timing(3, 5, 4, clock=clock, seed=0)
    assert times.decode_s > 0
    assert recorded_before_timing == [recorded_before_timing[0]] * 3 and recorded_before_timing[0] >= 2
    assert model._steps.kernels == "triton, cuda graphs"
    packed = f", {model._packing}" if model._packing else ""
    assert model._kernels() == f"triton, cuda graphs{packed}"


@pytest.mark.parametrize("shares_prompts", [False, True])
def test_a_batch_of_a_model_shares_prompts_if_it_is_to(model, shares_prompts):
    batch = model._batch(Sampler(GREEDY), 8, 20, shares_prompts=shares_prompts)
    assert batch._memory.can_share is (shares_prompts and batch._memory.has_slots)


def test_libraries_are_tried_with_each_operation_of_the_model(module):
    trials = trials_of(module, recipe_of(module))
    assert trials.keys() <= {"attend", "llamba", "mamba1", "mamba2"}
    for operation, arguments in trials.items():
        with torch.inference_mode():
            assert getattr(REFERENCE, operation)(*arguments).isfinite().all()


def options(kernels, **others):
    return LoadOptions(device="cpu", kernels=kernels, **others)


def test_on_a_cpu_steps_are_made_of_native_kernels(has_compiler):
    native = StepPlan(kernels="native", is_recorded=False, reasons=())
    assert choose_plan(options("auto"), CPU) == native
    assert choose_plan(options("auto", state_dtype="float32", dtype="float32"), CPU) == native
    assert choose_plan(options("auto", dtype="bfloat16"), CPU) == native
    assert choose_plan(options("native"), CPU) == replace(native, is_asked=True)
    assert choose_plan(options("eager"), CPU) == replace(OWN_STEPS, is_asked=True)


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ({"dtype": "float16"}, "there are none for float16"),
        ({"state_dtype": "bfloat16"}, "they keep states in float32, not in bfloat16"),
        ({"compile": True}, "the modules' own steps are what is compiled"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_native_kernels_cannot_do_is_done_by_the_modules_and_said(has_compiler, others, problem):
    assert choose_plan(options("auto", **others), CPU) == replace(OWN_STEPS, reasons=(f"no native kernels: {problem}",))
    with pytest.raises(UsageError, match=f"kernels is 'native', which cannot run here \\({problem}\\): use auto"):
        choose_plan(options("native", **others), CPU)


def test_without_a_compiler_steps_are_the_modules_own(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    problem = "the C compiler that CC names, 'no-such-compiler', is not found"
    assert choose_plan(options("auto"), CPU) == replace(OWN_STEPS, reasons=(f"no native kernels: {problem}",))
    with pytest.raises(UsageError, match=problem):
        choose_plan(options("native"), CPU)


def test_kernels_that_cannot_be_built_are_replaced_and_named_unless_they_were_asked_for(module):
    def fail(dtype):
        raise BuildError("the C compiler 'cc' failed: no space left")

    plan = StepPlan(kernels="native", is_recorded=False, reasons=())
    problem = "no native kernels: the C compiler 'cc' failed: no space left"
    assert begin_native(module, plan, fail) == (None, (problem,))
    with pytest.raises(UsageError, match=f"'native' were asked for and do not work here: {problem}"):
        begin_native(module, replace(plan, is_asked=True), fail)


@pytest.mark.parametrize("kernels", ["triton", "pytorch"])
def test_graphs_on_a_cpu_are_refused(kernels):
    with pytest.raises(UsageError, match=f"kernels is '{kernels}', and those are for GPUs"):
        choose_plan(options(kernels), CPU)


def test_native_kernels_on_a_gpu_are_refused():
    with pytest.raises(UsageError, match="kernels is 'native', and those are for CPUs"):
        choose_plan(options("native"), CUDA)


def test_kernels_that_do_not_exist_are_refused():
    with pytest.raises(UnknownNameError, match="unknown kernels 'tritn': did you mean 'triton'"):
        choose_plan(options("tritn"), CPU)


def test_steps_that_are_compiled_are_not_recorded():
    plan = choose_plan(options("auto", compile=True), CUDA)
    assert plan == replace(OWN_STEPS, reasons=("compiled steps are not recorded",))
    with pytest.raises(UsageError, match="leaves nothing to compile"):
        choose_plan(options("triton", compile=True), CUDA)
    assert choose_plan(options("eager", compile=True), CUDA) == replace(OWN_STEPS, is_asked=True)


def test_eager_steps_are_the_models_own_also_on_a_gpu():
    assert choose_plan(options("eager"), CUDA) == replace(OWN_STEPS, is_asked=True)


def test_an_explicit_choice_is_taken_if_it_can_run():
    old = StepPlan(kernels="pytorch", is_recorded=True, reasons=("triton is not installed",))
    assert asked_plan("auto", old) == old
    assert asked_plan("pytorch", BEST) == replace(BEST, kernels="pytorch", is_asked=True)
    assert asked_plan("triton", BEST) == replace(BEST, is_asked=True)
    with pytest.raises(UsageError, match=r"cannot run here \(triton is not installed\)"):
        asked_plan("triton", old)
