"""Compile every kernel for a GPU that need not be there, by calling the operations on the shapes of published models.

Prints one JSON object per kernel: its name, threads, and what its machine code takes of a multiprocessor.
Usage: TRITON_INTERPRET=0 python compile_kernels.py [compute capability, as 90]
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from timetrial_plugins.ops.trials import LLAMAS, Trials, TrialSizes


class AbsentDevice:
    """Stands where Triton has its driver, and says for which device to compile."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


def recording(run, kernels):
    """Do what Triton does on a launch but for the launch, and keep what was compiled."""

    def compile_only(function, *arguments, grid, warmup, **options):
        kernel = run(function, *arguments, grid=grid, warmup=True, **options)
        kernels[kernel.hash] = kernel
        return kernel

    return compile_only


def call_everything(ops, dtype):
    """Call every operation, in all that its shapes, types and options make different kernels of."""
    for shape in LLAMAS.values():
        for rows in (4, 64):
            sizes = TrialSizes(rows=rows, **shape, slots=1024 if rows == 4 else 64)
            for name, arguments in Trials(sizes, torch.device("cpu"), dtype).all().items():
                getattr(ops, name.partition(" ")[0])(*arguments)
                if name == "add_norm":
                    hidden, _, weights = arguments
                    ops.add_norm(hidden, None, weights)
                    ops.add_norm(*arguments[:2], weights._replace(scales_first=True))
                if name == "draw":
                    ops.draw(*arguments[:3], 0.0)


def usage(kernel):
    """Registers and stack of a thread, as the machine code says."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return {name: int(re.search(rf"{name}:(\d+)", text).group(1)) for name in ("REG", "STACK", "LOCAL")}


def main():
    kernels = {}
    driver.set_active(AbsentDevice(int(sys.argv[1]) if len(sys.argv) > 1 else 90))
    JITFunction.run = recording(JITFunction.run, kernels)
    from timetrial_plugins.ops.triton_ops import triton_ops

    for dtype in (torch.bfloat16, torch.float32):
        compiled = set(kernels)
        call_everything(triton_ops(), dtype)
        for key, kernel in kernels.items():
            if key not in compiled:
                facts = {"kernel": kernel.metadata.name, "dtype": str(dtype), "threads": 32 * kernel.metadata.num_warps}
                print(json.dumps({**facts, "shared_bytes": kernel.metadata.shared, **usage(kernel)}), flush=True)


if __name__ == "__main__":
    main()
