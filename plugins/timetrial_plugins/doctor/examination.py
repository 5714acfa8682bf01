"""All that `timetrial doctor` finds out, as one record, and what of it is a fault."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from timetrial.clock import MonotonicClock
from timetrial.rates import MachineRates
from timetrial.spec import LoadOptions
from timetrial_plugins.doctor.machine import Cuda, Processor, inspect_cuda, inspect_processor
from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.packages import MODULES, Package, inspect_package
from timetrial_plugins.ops.selection import DeviceFacts, Implementation, implementations

_DTYPES = ("float32", "bfloat16")
_NUM_DEVICES = 2  # the CPU and CUDA


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What this machine has."""

    python: str
    packages: tuple[Package, ...]
    processor: Processor | None
    """None where PyTorch cannot be imported; so is `cuda`."""
    cuda: Cuda | None
    kernels: Mapping[str, Sequence[Implementation]]
    """Implementations of the operations of a decode step, by device."""
    rates: Mapping[str, Sequence[MachineRates]]
    """What was measured, by device; empty unless asked for."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What is installed and broken; what is merely absent is none."""
        broken = [package.problem for package in self.packages if package.error is not None]
        if self.cuda is not None and self.cuda.is_broken:
            broken.append(f"the GPU cannot be used ({self.cuda.problem})")
        return tuple(problem for problem in broken if problem is not None)


def examine(
    python: str, advance: Callable[[int], None], *, measures: bool, inspect: Callable[[str], Package] = inspect_package
) -> Examination:
    """Look at everything; `advance` is told after each of `num_looks`."""
    packages = {}
    for name in MODULES:
        packages[name] = inspect(name)
        advance(1)
    if packages["torch"].problem is not None:
        return Examination(
            python=python, packages=tuple(packages.values()), processor=None, cuda=None, kernels={}, rates={}
        )
    processor, cuda = inspect_processor(), inspect_cuda()
    advance(1)
    is_interpreted = os.environ.get("TRITON_INTERPRET", "0") == "1"
    cpu = DeviceFacts("cpu", build_problem=build_problem())
    devices = [cpu, DeviceFacts("cuda", cuda.gpus[0].capability if cuda.gpus else None, cuda.problem)]
    kernels = {device.kind: implementations(device, packages, is_interpreted=is_interpreted) for device in devices}
    rates: dict[str, list[MachineRates]] = {}
    for device in devices if measures else ():
        for dtype in _DTYPES:
            if device.problem is None:
                rates.setdefault(device.kind, []).append(_measure(device.kind, dtype))
            advance(1)
    return Examination(
        python=python, packages=tuple(packages.values()), processor=processor, cuda=cuda, kernels=kernels, rates=rates
    )


def num_looks(*, measures: bool) -> int:
    """Return how often `examine` reports to its `advance`."""
    return len(MODULES) + 1 + (_NUM_DEVICES * len(_DTYPES) if measures else 0)


def _measure(kind: str, dtype: str) -> MachineRates:
    """Measure a device's bandwidth and its products in one number format."""
    import torch

    from timetrial_plugins.engine import placement
    from timetrial_plugins.engine.roofline import measure_rates

    clock = MonotonicClock(lambda: placement.synchronize(torch.device(kind)))
    return measure_rates(LoadOptions(device=kind, dtype=dtype), clock)
