"""What makes the batches of a model on a device: its recipe, the operations in use, and whether steps are recorded.

Legend: see the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from timetrial.clock import MonotonicClock
from timetrial.error import UsageError
from timetrial.protocol import Sampling
from timetrial_plugins.device.batch import DeviceBatch
from timetrial_plugins.device.native_runner import NativeRunner
from timetrial_plugins.device.recipe import Recipe, recipe_of, replay_recipe
from timetrial_plugins.device.replay_memory import new_memory
from timetrial_plugins.device.step import DeviceStep, drawing
from timetrial_plugins.engine import placement
from timetrial_plugins.engine.batch import LEAST_SHARERS
from timetrial_plugins.engine.graph import Bucket, Buckets, CudaRecorder, GraphRunner, Recorder, Runner
from timetrial_plugins.engine.graph_timing import GraphStopwatch
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.engine.step_plan import StepPlan, implementations_on
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.joint import Products
from timetrial_plugins.ops.activation import ActiveOps, activate
from timetrial_plugins.ops.native.build import BuildError
from timetrial_plugins.ops.native.native_ops import NativeKernels, native_kernels
from timetrial_plugins.ops.reference import REFERENCE

_TRIAL = Bucket(rows=16, slots=512)  # what libraries are compared in: small enough for any device that holds the model


class DeviceSteps:
    """Runs the steps of a model on a device, and says how."""

    # Any: each family has its own kind of state
    def __init__(
        self,
        module: CausalModule[Any],
        recipe: Recipe,
        active: ActiveOps,
        recording: Callable[[], Recorder] | NativeKernels,
        reasons: Sequence[str] = (),
    ) -> None:
        """Step through `recipe`, which is the module's, by the active operations.

        They are recorded by recorders that `recording` makes, or by the native kernels whose operations they are.

        `reasons` say why these operations are not the best there could be.
        """
        self._reasons = reasons
        self._module, self._recipe, self._active = module, recipe, active
        self._recording = recording
        self.problem: str | None = None
        """Why steps are not recorded; None: they are."""

    @property
    def kernels(self) -> str:
        """How steps run, in a few words."""
        if isinstance(self._recording, NativeKernels):
            return self._active.summary if self.problem is None else f"{self._active.summary} ({self.problem})"
        how = "cuda graphs" if self.problem is None else f"eager ({self.problem})"
        interval = self._recipe.state_interval
        words = [self._active.summary, how, *([f"states written every {interval} steps"] if interval > 1 else [])]
        return ", ".join(words) + (f" ({'; '.join(self._reasons)})" if self._reasons else "")

    @property
    def products(self) -> Products | None:
        """What multiplies by weights that may be copied; None for what PyTorch has."""
        return self._recording.product if isinstance(self._recording, NativeKernels) else None

    def start(self, sampler: Sampler, rows: int, capacity: int, *, shares_prompts: bool = False) -> DeviceBatch:
        """Return a batch of up to `rows` rows of `capacity` tokens, prompt and completion together."""
        num_prompts = max(1, rows // LEAST_SHARERS) if shares_prompts else 0
        with torch.inference_mode():
            memory = new_memory(self._module, rows, capacity, num_prompts, interval=self._recipe.state_interval)
            step = DeviceStep(self._recipe, self._active.ops, memory, drawing(sampler, self._active.ops), rows)
        runner = self._runner(step, rows, capacity if memory.has_slots else 1)
        return DeviceBatch(self._module, memory, step, runner, num_prompts)

    def probe(self) -> None:
        """Take and record a step of one row, which compiles what is compiled and shows whether all of it works."""
        self.start(Sampler(Sampling(temperature=1.0)), 1, 1).prepare(1, 0, 1)

    def _runner(self, step: DeviceStep, rows: int, slots: int) -> Runner:
        if isinstance(self._recording, NativeKernels):
            return NativeRunner(step, self._recording, Bucket(rows, slots), self._note)
        recorder = self._recording() if self.problem is None else None
        return GraphRunner(step, Buckets.up_to(rows, slots), recorder, self.problem, self._note)

    def _note(self, problem: str) -> None:
        self.problem = problem


class Begun(NamedTuple):
    """What became of a plan."""

    steps: DeviceSteps | None
    """None: the module's own steps are used."""
    reasons: tuple[str, ...]
    """Why there are none."""


Begin = Callable[[CausalModule[Any], StepPlan, torch.device], Begun]  # Any: each family has its own kind of state
"""Makes the steps of a plan for a module on a device."""


def begin_steps(
    module: CausalModule[Any],  # Any: each family has its own kind of state
    plan: StepPlan,
    activated: Callable[[str, Recipe], ActiveOps],
    new_recorder: Callable[[], Recorder],
) -> Begun:
    """Return steps that were seen to work, recorded: those of the plan, else of PyTorch's operations, else none.

    Args:
        module: whose weights do not change any more; it is fused.
        plan: a recorded one.
        activated: returns the operations by name, triton or pytorch.
        new_recorder: of the device that the module lies on.

    Raises:
        UsageError: a plan that was asked for does not work, or states cannot be written as seldom as it says.
    """
    interval = plan.state_interval
    recipe = recipe_of(module) if interval == 1 else replay_recipe(module, interval)
    if recipe is None:
        return _without_steps(plan, [f"a {type(module).__name__} has no step for devices"])
    module.fuse()
    reasons = list(plan.reasons)
    for kernels in dict.fromkeys((plan.kernels, "pytorch")):
        try:
            steps = DeviceSteps(module, recipe, activated(kernels, recipe), new_recorder, tuple(reasons))
            steps.probe()
        except torch.OutOfMemoryError:
            raise
        except Exception as cause:  # compilers and drivers fail in any way
            problem: str | None = f"{kernels} kernels failed ({type(cause).__name__}: {' '.join(str(cause).split())})"
        else:
            problem = steps.problem
        if problem is None:
            return Begun(steps, ())
        reasons.append(problem)
        if plan.is_asked:
            break
    return _without_steps(plan, reasons)


def begin_native(
    module: CausalModule[Any],  # Any: each family has its own kind of state
    plan: StepPlan,
    new_kernels: Callable[[torch.dtype], NativeKernels] = native_kernels,
) -> Begun:
    """Return steps of native kernels for a module on a CPU, else none.

    Raises:
        UsageError: native kernels were asked for and cannot be built.
    """
    recipe = recipe_of(module)
    if recipe is None:
        return _without_steps(plan, [f"a {type(module).__name__} has no step for devices"])
    try:
        kernels = new_kernels(recipe.embedding.dtype)
    except BuildError as cause:
        return _without_steps(plan, [f"no native kernels: {cause}"])
    active = ActiveOps(ops=kernels.ops, default="native", measurements=())
    return Begun(DeviceSteps(module, recipe, active, kernels), ())


def begin_on_device(module: CausalModule[Any], plan: StepPlan, device: torch.device) -> Begun:
    """Return the steps of a module; see `begin_native`, and `begin_steps` for one that lies on a CUDA device."""
    if plan.kernels == "native":
        return begin_native(module, plan)

    def activated(kernels: str, recipe: Recipe) -> ActiveOps:
        return _activated(kernels, module, recipe, device)

    return begin_steps(module, plan, activated, lambda: CudaRecorder(device))


def _without_steps(plan: StepPlan, reasons: Sequence[str]) -> Begun:
    """Return that the module's own steps are used, unless something else was asked for."""
    if plan.state_interval > 1:
        raise UsageError(
            f"states that are written every {plan.state_interval} steps were asked for, and steps that do so do not "
            f"work here: {'; '.join(reasons)}. Leave --state-interval out"
        )
    if plan.is_asked:
        raise UsageError(
            f"kernels {plan.kernels!r} were asked for and do not work here: {'; '.join(reasons)}. "
            "Use --kernels auto, which takes the best that works, or eager"
        )
    return Begun(None, tuple(reasons))


def _activated(kernels: str, module: CausalModule[Any], recipe: Recipe, device: torch.device) -> ActiveOps:
    """Return the operations of that name, with those of libraries in place of Triton's where they are faster."""
    if kernels == "pytorch":
        return ActiveOps(ops=REFERENCE, default="pytorch", measurements=())
    found = implementations_on(device)
    trials = trials_of(module, recipe) if any(entry.state == "candidate" for entry in found) else {}
    watch = GraphStopwatch(CudaRecorder(device), MonotonicClock(lambda: placement.synchronize(device)))
    with torch.inference_mode(), torch.cuda.device(device):
        return activate(found, trials, watch.shortest_s)


def trials_of(
    module: CausalModule[Any], recipe: Recipe
) -> Mapping[str, Sequence[Any]]:  # Any: an operation's arguments
    """Return arguments for the mixing operations of a model, each as its first layer calls it."""
    with torch.inference_mode():
        memory = new_memory(module, *_TRIAL, interval=recipe.state_interval)
        memory.wipe()
        rows = memory.view(_TRIAL)
        normed = torch.randn(_TRIAL.rows, recipe.embedding.shape[1], device=recipe.embedding.device)
        trials: dict[str, Sequence[Any]] = {}
        for layer in recipe.layers:
            operation, arguments = layer.mixer.operation(normed.to(recipe.embedding.dtype), rows)
            trials.setdefault(operation, arguments)
    return trials
