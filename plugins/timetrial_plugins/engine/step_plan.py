"""How decode steps run on a device: with which kernels, recorded or eagerly, and why not better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from timetrial_plugins.ops.selection import DeviceFacts, Implementation


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlan:
    """A way of running steps."""

    kernels: Literal["triton", "pytorch"]
    is_recorded: bool
    """Whether steps are replayed as CUDA graphs."""
    reasons: tuple[str, ...]
    """Why it is not Triton kernels in CUDA graphs; empty: it is."""

    @property
    def summary(self) -> str:
        """The plan and its reasons in a line, for the description of a model."""
        name = f"{self.kernels}, cuda graphs" if self.is_recorded else f"{self.kernels}-eager"
        return f"{name} ({'; '.join(self.reasons)})" if self.reasons else name


def plan_steps(device: DeviceFacts, implementations: Sequence[Implementation], *, records: bool = True) -> StepPlan:
    """Return the best plan for a device: graphs of Triton kernels, graphs of PyTorch's, or eager steps.

    `records` is whether graphs are wanted at all. Eager steps use PyTorch: launched one by one, Triton kernels take
    longer to start than to run.
    """
    triton = next(entry for entry in implementations if entry.name == "triton")
    if device.kind != "cuda":
        return StepPlan(kernels="pytorch", is_recorded=False, reasons=())
    if not records:
        return StepPlan(kernels="pytorch", is_recorded=False, reasons=("CUDA graphs are switched off",))
    if triton.problem is not None:
        return StepPlan(kernels="pytorch", is_recorded=True, reasons=(triton.problem,))
    return StepPlan(kernels="triton", is_recorded=True, reasons=())
