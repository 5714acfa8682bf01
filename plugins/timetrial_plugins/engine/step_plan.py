"""How decode steps run on a device: with which kernels, recorded or eagerly, and why not better."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from timetrial.error import UnknownNameError, UsageError
from timetrial.spec import LoadOptions
from timetrial_plugins.ops.packages import inspect_package
from timetrial_plugins.ops.selection import DeviceFacts, Implementation, implementations, needed_packages

KERNELS = ("auto", "triton", "pytorch", "eager")
"""What may be asked for: the best that works, graphs of Triton's or PyTorch's operations, or the module's own steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlan:
    """A way of running steps."""

    kernels: Literal["triton", "pytorch"]
    is_recorded: bool
    """Whether steps are replayed as CUDA graphs."""
    reasons: tuple[str, ...]
    """Why it is not Triton kernels in CUDA graphs; empty: it is."""
    is_asked: bool = False
    """Whether somebody asked for these kernels, so that none may stand in for them."""


OWN_STEPS = StepPlan(kernels="pytorch", is_recorded=False, reasons=())
"""Steps are the models' own, one by one: as on a CPU."""


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
    if asked in ("auto", "eager") and device.type != "cuda":
        return OWN_STEPS
    if asked == "eager":
        return StepPlan(kernels="pytorch", is_recorded=False, reasons=(), is_asked=True)
    if device.type != "cuda":
        raise UsageError(f"kernels is {asked!r}, but steps on a CPU are the models' own: use auto, or --device cuda")
    if options.compile and asked == "auto":
        return StepPlan(kernels="pytorch", is_recorded=False, reasons=("compiled steps are not recorded",))
    if options.compile:
        raise UsageError(f"kernels is {asked!r}, which leaves nothing to compile: leave --compile out, or use eager")
    return asked_plan(asked, plan_steps(DeviceFacts("cuda"), implementations_on(device)))


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
