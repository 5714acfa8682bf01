"""Where a model runs and in which number format, and what running out of memory looks like there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from timetrial.error import UnknownNameError, UsageError
from timetrial.protocol import LoadOptions, OutOfMemory

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CPU_ALLOCATOR_MESSAGES = ("can't allocate memory", "not enough memory")


def choose_device(options: LoadOptions) -> torch.device:
    """Return the device asked for: auto is the first CUDA device if there is one, else the CPU.

    Raises:
        UsageError: no such device here, or not one this engine runs on.
    """
    name = options.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (":" in name and not (kind == "cuda" and index.isdecimal())):
        raise UnknownNameError("device", name, ["auto", "cpu", "cuda", "cuda:0", "cuda:1"])
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise UsageError(f"device is {name!r}, but PyTorch finds {count} CUDA devices here; use 'cpu' or 'auto'")
    return torch.device(name)


def choose_dtype(options: LoadOptions, device: torch.device) -> torch.dtype:
    """Return the number format asked for: auto is float32 on a CPU and bfloat16 on an accelerator.

    Raises:
        UnknownNameError: no such format.
    """
    if options.dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if options.dtype not in _DTYPES:
        raise UnknownNameError("dtype", options.dtype, ["auto", *_DTYPES])
    return _DTYPES[options.dtype]


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished everything queued; a CPU queues nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Forget the peak memory so far, where the platform can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """Return the peak of allocated device memory since `reset_peak`.

    On a CPU it is the peak resident memory of the process since it began, which no reset lowers; None on Windows.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the others kilobytes


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn every way in which PyTorch runs out of memory into OutOfMemory."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as cause:
        raise OutOfMemory(str(cause)) from cause
    except RuntimeError as cause:
        if not any(message in str(cause) for message in _CPU_ALLOCATOR_MESSAGES):
            raise
        raise OutOfMemory(str(cause)) from cause
