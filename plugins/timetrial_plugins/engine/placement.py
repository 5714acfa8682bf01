"""Where a model runs and in which number format, and what running out of memory looks like there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from timetrial.error import UnknownNameError, UsageError
from timetrial.protocol import OutOfMemory
from timetrial.spec import LoadOptions

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CLEAR = Path("/proc/self/clear_refs")
_CONTROL_GROUP = Path("/sys/fs/cgroup")
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


def choose_state_dtype(options: LoadOptions) -> torch.dtype | None:
    """Return the number format of recurrent states that is asked for; None leaves it to the family: float32.

    Raises:
        UnknownNameError: no such format, or none for states.
    """
    formats = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}
    if options.state_dtype not in formats:
        raise UnknownNameError("state dtype", options.state_dtype, formats)
    return formats[options.state_dtype]


def check_compiler(device: torch.device) -> None:
    """Refuse to compile for a CPU where there is nothing to compile with.

    Raises:
        UsageError: PyTorch finds no C++ compiler.
    """
    if device.type != "cpu":
        return
    from torch._inductor.cpp_builder import get_cpp_compiler  # slow to import, and only compiling needs it

    try:
        get_cpp_compiler()
    except RuntimeError as cause:
        raise UsageError(
            "compiling for a CPU takes a C++ compiler, and there is none: install g++ or clang++, or name one in the "
            "environment variable CXX, or leave --compile out"
        ) from cause


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished everything queued; a CPU queues nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_name(device: torch.device) -> str:
    """Return what to call a device: an accelerator's own name, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def free_bytes(device: torch.device) -> int | None:
    """Return how much memory can be allocated now, on a CPU without pushing anything out; None if nobody can tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [_linux_bytes("/proc/meminfo", "MemAvailable"), _control_group_bytes()]
    return min((limit for limit in limits if limit is not None), default=None)


def reset_peak(device: torch.device) -> None:
    """Forget the peak memory so far, where the platform can: on an accelerator, and on Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        _CLEAR.write_text("5")  # the kernel takes this as: begin the peak anew


def peak_bytes(device: torch.device) -> int | None:
    """Return the peak of allocated device memory since `reset_peak`.

    On a CPU it is the peak resident memory of the process, weights and libraries included: on Linux since `reset_peak`,
    elsewhere since the process began; None on Windows.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if (peak_on_linux := _linux_bytes("/proc/self/status", "VmHWM")) is not None:
        return peak_on_linux
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the others kilobytes


def _linux_bytes(file: str, name: str) -> int | None:
    """Return a line of a file in which Linux counts memory in kB; None without such a file or line."""
    with suppress(OSError):
        for line in Path(file).read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _control_group_bytes() -> int | None:
    """Return what a container leaves to allocate; None if it sets no limit."""
    with suppress(OSError, ValueError):  # no such file, or "max"
        limit, used = (int((_CONTROL_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        return max(0, limit - used)
    return None


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
