"""What this machine can do: bytes and multiplications per second, measured by large reads, copies and products.

docs/timing.md says how floors are made of them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from timetrial.clock import Clock
from timetrial.rates import MachineRates
from timetrial.spec import LoadOptions
from timetrial_plugins.engine import placement
from timetrial_plugins.ops.native.pages import LargePages

_MIB = 1 << 20
# From what a cache may hold to what none does, closest where caches often end: what lies between two takes the faster
# one's rate.
_WORKING_SETS = tuple(size * _MIB for size in (4, 6, 8, 11, 16, 20, 24, 28, 32, 40, 48, 56, 64, 91, 128, 181, 256))
_BYTES_PER_READING = 256 * _MIB
_MATRIX_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
_LEAST_READINGS, _LONGEST_S = 3, 0.1


def measure_rates(options: LoadOptions, clock: Clock) -> MachineRates:
    """Return the best of several readings of each rate, on the device and in the number format of the options.

    Takes about five seconds and about 0.5 GiB. `clock` waits for the device whenever it is read.

    Raises:
        UsageError: `options` ask for a device or number format that is not there.
    """
    device = placement.choose_device(options)
    dtype = placement.choose_dtype(options, device)
    with torch.inference_mode():
        return MachineRates(
            bandwidths=tuple((size, _bandwidth(size, device, clock)) for size in _WORKING_SETS),
            flops_per_s=max(_matrix_rate(size, device, dtype, clock) for size in _MATRIX_SIZES[device.type]),
            device=placement.device_name(device),
            dtype=str(dtype).removeprefix("torch."),
        )


def _bandwidth(working_set: int, device: torch.device, clock: Clock) -> float:
    """Return bytes per second of the faster of a read and a copy, which reads one half and writes the other."""
    count = working_set // 4
    is_cpu = device.type == "cpu"  # where weights lie in large pages, which are read faster
    room = LargePages().empty((count,), torch.float32) if is_cpu else torch.empty(count, device=device)
    source = room.fill_(1)
    half = len(source) // 2
    repetitions = max(1, _BYTES_PER_READING // working_set)

    def read() -> None:
        for _ in range(repetitions):
            source.sum()

    def copy() -> None:
        for _ in range(repetitions):
            source[:half].copy_(source[half:])

    return repetitions * working_set / min(_shortest_s(read, clock), _shortest_s(copy, clock))


def _matrix_rate(size: int, device: torch.device, dtype: torch.dtype, clock: Clock) -> float:
    """Return multiplications and additions per second of a product of square matrices."""
    left, right = (_matrix(size, device, dtype) for _ in range(2))
    return 2 * size**3 / _shortest_s(lambda: torch.mm(left, right), clock)


def _matrix(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.randn(size, size, device=device).to(dtype)


def _shortest_s(work: Callable[[], object], clock: Clock) -> float:
    """Return the shortest of several readings, after one that is thrown away."""
    work()
    begin_s = clock.now()
    shortest_s, readings = float("inf"), 0
    while readings < _LEAST_READINGS or clock.now() - begin_s < _LONGEST_S:
        start_s = clock.now()
        work()
        shortest_s = min(shortest_s, clock.now() - start_s)
        readings += 1
    return shortest_s
