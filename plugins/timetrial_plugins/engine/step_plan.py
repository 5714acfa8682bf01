"""How decode steps run on a device: with which kernels, recorded or one by one, and why not better."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from timetrial.error import UnknownNameError, UsageError
from timetrial.spec import LoadOptions
from timetrial_plugins.engine.placement import choose_dtype, choose_state_dtype
from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.native.native_ops import DTYPES
from timetrial_plugins.ops.packages import inspect_package
from timetrial_plugins.ops.selection import DeviceFacts, Implementation, implementations, needed_packages

KERNELS = ("auto", "native", "triton", "pytorch", "eager")
"""What may be asked for: the best that works, kernels in C on a CPU, graphs of Triton's or PyTorch's operations on a
GPU, or the module's own steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlan:
    """A way of running steps."""

    kernels: Literal["native", "triton", "pytorch"]
    is_recorded: bool
    """Whether steps are replayed as CUDA graphs."""
    reasons: tuple[str, ...]
    """Why it is not what is best on the device: native kernels on a CPU, else Triton kernels in CUDA graphs."""
    is_asked: bool = False
    """Whether somebody asked for these kernels, so that none may stand in for them."""
    state_interval: int = 1
    """Steps between writes of recurrent states."""

    def __post_init__(self) -> None:
        """Check that such steps exist."""
        assert self.state_interval == 1 or self.is_recorded, "only recorded steps write states every so many steps"

    @property
    def is_own(self) -> bool:
        """Whether steps are the module's own."""
        return self.kernels == "pytorch" and not self.is_recorded


OWN_STEPS = StepPlan(kernels="pytorch", is_recorded=False, reasons=())
"""Steps are the modules' own, one by one."""


def plan_steps(device: DeviceFacts, implementations: Sequence[Implementation]) -> StepPlan:
    """Return the best plan for a device: graphs of Triton kernels, graphs of PyTorch's, or the models' own steps."""
    if device.kind != "cuda":
        return OWN_STEPS
    triton = next(entry for entry in implementations if entry.name == "triton")
    if triton.problem is not None:
        return StepPlan(kernels="pytorch", is_recorded=True, reasons=(triton.problem,))
    return StepPlan(kernels="triton", is_recorded=True, reasons=())


def choose_plan(options: LoadOptions, device: torch.device) -> StepPlan:
    """Return the plan that the options ask for, before anything is loaded.

    Raises:
        UnknownNameError: there are no such kernels.
        UsageError: they cannot run on the device, or not together with the other options.
    """
    asked = options.kernels
    if asked not in KERNELS:
        raise UnknownNameError("kernels", asked, KERNELS)
    _check_interval(options, device)
    if asked == "eager":
        return replace(OWN_STEPS, is_asked=True)
    if device.type != "cuda":
        return _plan_on_cpu(options, device)
    if asked == "native":
        raise UsageError("kernels is 'native', and those are for CPUs: use auto, or --device cpu")
    if options.compile and asked == "auto":
        return StepPlan(kernels="pytorch", is_recorded=False, reasons=("compiled steps are not recorded",))
    if options.compile:
        raise UsageError(f"kernels is {asked!r}, which leaves nothing to compile: leave --compile out, or use eager")
    plan = asked_plan(asked, plan_steps(DeviceFacts("cuda"), implementations_on(device)))
    return replace(plan, state_interval=options.state_interval)


def _check_interval(options: LoadOptions, device: torch.device) -> None:
    """Refuse a state interval that is none, or that the steps asked for do not have.

    Raises:
        UsageError: says why not.
    """
    interval = options.state_interval
    if not isinstance(interval, int) or interval < 1:  # text may come from a command of another package
        raise UsageError(f"state interval is {interval!r}: expected a whole number of steps, 1 (every step) or more")
    if interval == 1:
        return
    if device.type != "cuda":
        reason = "the device is a CPU, whose steps write states every step: what fewer writes gain is on GPUs"
    elif options.kernels == "eager":
        reason = "--kernels eager are the modules' own steps, which write states every step"
    elif options.compile:
        reason = "--compile is about the modules' own steps, which write states every step"
    else:
        return
    raise UsageError(
        f"state interval is {interval}, and {reason}. Leave --state-interval out, or use --device cuda with --kernels "
        "auto, triton or pytorch"
    )


def _plan_on_cpu(options: LoadOptions, device: torch.device) -> StepPlan:
    """Return the plan that the options ask for on a CPU.

    Raises:
        UsageError: the kernels they ask for cannot run.
    """
    asked = options.kernels
    if asked in ("triton", "pytorch"):
        raise UsageError(f"kernels is {asked!r}, and those are for GPUs: use auto, native or eager, or --device cuda")
    problem = _native_problem(options, device)
    if problem is None:
        return StepPlan(kernels="native", is_recorded=False, reasons=(), is_asked=asked == "native")
    if asked == "native":
        raise UsageError(f"kernels is 'native', which cannot run here ({problem}): use auto, or eager")
    return replace(OWN_STEPS, reasons=(f"no native kernels: {problem}",))


def _native_problem(options: LoadOptions, device: torch.device) -> str | None:
    """Return why steps cannot be made of native kernels."""
    if options.compile:
        return "the modules' own steps are what is compiled"
    if choose_dtype(options, device) not in DTYPES:
        return f"there are none for {options.dtype}"
    if choose_state_dtype(options) not in (None, torch.float32):
        return f"they keep states in float32, not in {options.state_dtype}"
    return build_problem()


def implementations_on(device: torch.device) -> Sequence[Implementation]:
    """Return the implementations of operations, and whether they can run on a CUDA device."""
    facts = DeviceFacts("cuda", torch.cuda.get_device_capability(device))
    packages = {name: inspect_package(name) for name in needed_packages()}
    return implementations(facts, packages, is_interpreted=os.environ.get("TRITON_INTERPRET", "0") == "1")


def asked_plan(asked: str, best: StepPlan) -> StepPlan:
    """Return the recorded plan asked for: auto, triton or pytorch, if the best there is allows it.

    Raises:
        UsageError: it does not.
    """
    if asked == "auto":
        return best
    if asked == "triton" and best.kernels != "triton":
        raise UsageError(f"kernels is 'triton', which cannot run here ({'; '.join(best.reasons)}): use auto")
    return replace(best, kernels="triton" if asked == "triton" else "pytorch", reasons=(), is_asked=True)
