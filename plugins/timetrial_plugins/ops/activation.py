"""The operations that a device's steps are made of: Triton's, and other libraries' where they were measured faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timetrial_plugins.ops.calibration import Measurement, Operation, calibrate
from timetrial_plugins.ops.libraries import load_flash_attn, load_mamba_ssm
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.selection import Implementation
from timetrial_plugins.ops.step_ops import StepOps
from timetrial_plugins.ops.triton_ops import triton_ops

Loaders = Mapping[str, Callable[[StepOps], Mapping[str, Operation]]]
LOADERS: Loaders = {
    "mamba-ssm": lambda ops: load_mamba_ssm(),
    "flash-attn": lambda ops: load_flash_attn(ops.attend),
}
"""What gives the operations of each library, from those that are used otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveOps:
    """The operations in use, and how they were chosen."""

    ops: StepOps
    default: str
    """triton or pytorch."""
    measurements: Sequence[Measurement]
    """Of the operations that another library has as well."""

    @property
    def summary(self) -> str:
        """The default, and what is used in place of its operations, for the description of a model."""
        others = [f"{found.operation} by {found.chosen}" for found in self.measurements if found.chosen != self.default]
        return ", ".join([self.default, *others])


def activate(
    implementations: Sequence[Implementation],
    trials: Mapping[str, Sequence[Any]],  # Any: an operation's arguments
    shortest_s: Callable[[Callable[[], object]], float],
    loaders: Loaders = LOADERS,
) -> ActiveOps:
    """Return the operations for a device, of which `implementations` says what it can run.

    Args:
        implementations: of `selection.implementations`.
        trials: arguments in the shapes of the model, of the operations that it uses.
        shortest_s: as `calibrate` takes it; asked only where a library is there to be compared.
    """
    active = next(entry.name for entry in implementations if entry.state == "active")
    if active == "pytorch":
        return ActiveOps(ops=REFERENCE, default=active, measurements=())
    ops = triton_ops()
    challengers = {entry.name: loaders[entry.name](ops) for entry in implementations if entry.state == "candidate"}
    ops, measurements = calibrate(ops, active, challengers, trials, shortest_s)
    return ActiveOps(ops=ops, default=active, measurements=measurements)
