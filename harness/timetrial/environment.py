"""Where a timing was made: hardware, software and threads, with a key that is the same on the same machine.

Only facts that change what is measured enter the key; the host's name does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from timetrial.clock import timestamp


def describe_environment() -> dict[str, Any]:  # Any: JSON-ready
    """Return the facts about this machine and process that decide how fast a model runs."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **_torch(),
    }


def environment_key(environment: dict[str, Any]) -> str:  # Any: JSON-ready
    """Return a short digest of the environment: equal keys, comparable seconds."""
    return hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:12]


def environment_entry(environment: dict[str, Any]) -> dict[str, Any]:  # Any: JSON-ready
    """Return what environment.json stores under the key: the facts, the versions in use, and the date."""
    packages = ("timetrial", "torch", "transformers", "numpy")
    return {
        **environment,
        "packages": {name: _version(name) for name in packages},
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "recorded": timestamp(),
    }


def _torch() -> dict[str, Any]:  # Any: JSON-ready
    import torch

    facts: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads()}  # Any: JSON-ready
    if torch.cuda.is_available():
        facts["accelerators"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        facts["cuda"] = torch.version.cuda
    return facts


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
