"""Facts about the processor and the GPUs, as the system and PyTorch tell them; none of them is an error by itself.

PyTorch is imported where it is asked, so that a broken one can be told from an absent one.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "asimd", "bf16", "sve", "i8mm")
"""Instruction sets that decide how fast a CPU multiplies, by Linux's names."""
_DRIVER_TIMEOUT_S = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Processor:
    """The CPU that this process may use."""

    name: str
    cores: int
    """Those that the process may run on."""
    features: tuple[str, ...]
    """Of those that matter; empty where the system does not tell."""
    threads: int
    """That PyTorch uses."""
    omp_num_threads: str | None
    """The variable's value, if it is set."""
    multiplies_bfloat16: bool
    """Whether oneDNN has bfloat16 products for this processor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One CUDA device."""

    name: str
    capability: tuple[int, int]
    memory_bytes: int
    free_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cuda:
    """The CUDA devices, and why there are none."""

    driver: str | None
    """The NVIDIA driver's version; None without one."""
    runtime: str | None
    """The CUDA version that PyTorch was built for; None: it was built without."""
    gpus: tuple[Gpu, ...]
    problem: str | None
    """Why PyTorch uses no GPU; None: it does."""
    is_broken: bool
    """Whether that is a fault: there are a driver and a PyTorch for it, and they do not work together."""


def inspect_processor() -> Processor:
    """Return what is known about the CPU."""
    import torch

    lines = _cpu_lines()
    flags = set(lines.get("flags", lines.get("Features", "")).split())
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return Processor(
        name=lines.get("model name") or platform.processor() or platform.machine(),
        cores=len(affinity),
        features=tuple(name for name in _FEATURES if name in flags),
        threads=torch.get_num_threads(),
        omp_num_threads=os.environ.get("OMP_NUM_THREADS"),
        multiplies_bfloat16=bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if torch._C._has_mkldnn else False,
    )


def inspect_cuda() -> Cuda:
    """Return what is known about GPUs."""
    import torch

    driver, runtime = _driver_version(), torch.version.cuda
    if torch.version.hip is not None:
        return _no_gpus(driver, None, "this PyTorch is built for ROCm, which timetrial does not use", False)
    if runtime is None:
        there = "there is an NVIDIA driver, but " if driver else ""
        return _no_gpus(driver, None, f"{there}this PyTorch ({torch.__version__}) is built without CUDA", False)
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch does not annotate it
        gpus = tuple(_gpu(index) for index in range(torch.cuda.device_count()))
    except (RuntimeError, AssertionError) as cause:
        message = " ".join(str(cause).split())
        return _no_gpus(driver, runtime, message if driver else f"no NVIDIA driver ({message})", driver is not None)
    problem = None if gpus else "PyTorch sees no device (CUDA_VISIBLE_DEVICES may hide them)"
    return Cuda(driver=driver, runtime=runtime, gpus=gpus, problem=problem, is_broken=False)


def _no_gpus(driver: str | None, runtime: str | None, problem: str, is_broken: bool) -> Cuda:
    return Cuda(driver=driver, runtime=runtime, gpus=(), problem=problem, is_broken=is_broken)


def _gpu(index: int) -> Gpu:
    import torch

    free, total = torch.cuda.mem_get_info(index)
    return Gpu(
        name=torch.cuda.get_device_name(index),
        capability=torch.cuda.get_device_capability(index),
        memory_bytes=total,
        free_bytes=free,
    )


def _driver_version() -> str | None:
    """Ask the driver's own tool; None if there is no tool or no driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_DRIVER_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = run.stdout.split()
    return lines[0] if run.returncode == 0 and lines else None


def _cpu_lines() -> dict[str, str]:
    """Return what Linux says of the first core, by its names; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
