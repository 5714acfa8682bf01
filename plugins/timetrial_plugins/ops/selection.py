"""Which implementations of the operations can run on a device, and why the others cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from timetrial_plugins.ops.packages import Package

_LEAST_CAPABILITY = (8, 0)  # Ampere: bfloat16 in tensor cores; the kernels compile for 8.0, 9.0, 10.0 and 12.0

_COMPLETE = ("native", "triton", "pytorch")  # that have every operation, the preferred one first
_PACKAGES = {
    "triton": ("triton",),
    "mamba-ssm": ("triton", "mamba-ssm", "causal-conv1d"),  # its state updates are Triton kernels
    "flash-attn": ("flash-attn",),
}


def needed_packages() -> Sequence[str]:
    """Return the distributions that decide which implementations can run."""
    return sorted({package for packages in _PACKAGES.values() for package in packages})


State = Literal["active", "candidate", "fallback", "unusable"]
"""active: what runs; candidate: runs instead where a calibration measures it faster; fallback: would run otherwise."""

OPERATIONS = {
    "native": "all operations of a step",
    "triton": "all operations of a step",
    "mamba-ssm": "Mamba-1 and Mamba-2 steps of hybrids",
    "flash-attn": "attention to a row's own keys",
    "pytorch": "all operations of a step",
}
"""What each implementation has, for people."""


class DeviceFacts(NamedTuple):
    """What decides which kernels a device can run."""

    kind: str
    """cpu or cuda."""
    capability: tuple[int, int] | None = None
    """Compute capability; None on a CPU."""
    problem: str | None = None
    """Why nothing runs on a device of this kind, for example because there is none."""
    build_problem: str | None = None
    """Why kernels cannot be built for a CPU; None: they can."""


class Implementation(NamedTuple):
    """An implementation of the operations, and whether it is used on a device."""

    name: str
    operations: str
    state: State
    problem: str | None
    """Why it is unusable; None: it is not."""


def implementations(
    device: DeviceFacts, packages: Mapping[str, Package], *, is_interpreted: bool = False
) -> Sequence[Implementation]:
    """Return every implementation, what it is used for on the device, and what keeps it from being used.

    `is_interpreted` says that TRITON_INTERPRET is set, so that kernels would run in Python.
    """
    problems = {name: _problem(name, device, packages, is_interpreted) for name in OPERATIONS}
    active = next((name for name in _COMPLETE if problems[name] is None), None)
    return [
        Implementation(name, operations, _state(name, active, problems[name]), problems[name])
        for name, operations in OPERATIONS.items()
    ]


def _state(name: str, active: str | None, problem: str | None) -> State:
    if problem is not None:
        return "unusable"
    if name == active:
        return "active"
    return "fallback" if name in _COMPLETE else "candidate"


def _problem(name: str, device: DeviceFacts, packages: Mapping[str, Package], is_interpreted: bool) -> str | None:
    if device.problem is not None:
        return device.problem
    if name == "pytorch":
        return None
    if name == "native":
        return device.build_problem if device.kind == "cpu" else "its kernels run on CPUs only"
    if device.kind != "cuda":
        return "its kernels run on GPUs only"
    for package in _PACKAGES[name]:
        if (problem := packages[package].problem) is not None:
            return problem
    capability = device.capability or (0, 0)
    if capability < _LEAST_CAPABILITY:
        found, needed = (".".join(map(str, version)) for version in (capability, _LEAST_CAPABILITY))
        return f"compute capability {found} is less than {needed}"
    if is_interpreted and "triton" in (name, *_PACKAGES[name]):
        return "TRITON_INTERPRET is set, so that Triton kernels would run in Python"
    return None
