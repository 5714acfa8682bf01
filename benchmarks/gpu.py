"""Everything that needs a CUDA device, in one go: the tests, the kernels, and the paper's grid with random weights.

Writes small tables under results/gpu-DEVICE/: tests.txt, kernels.json, doctor.json, and tables.md of the grid. The
grid is batch 1 to 512 after 512 tokens, 512 new ones, of six models in bfloat16; its run folder is results/grid-DEVICE,
and an interrupted run goes on where it stopped. Its Llambas are timed again with states written every 16 steps:
tables-interval-16.md, results/grid-DEVICE-interval-16.
Usage: python benchmarks/gpu.py [--models llama-3.2-1b,...] [--batch 1,2,...,512] [--repeats 3]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
MODELS = "llama-3.2-1b,llamba-1b,mamba-in-llama-1b,llama-3.2-3b,llamba-4b,mamba-in-llama-3b"
BATCHES = ",".join(str(1 << exponent) for exponent in range(10))


def main() -> None:
    arguments = parse()
    if not torch.cuda.is_available():
        sys.exit("make bench-gpu needs a CUDA device: PyTorch finds none here (`timetrial doctor` says why)")
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    out = ROOT / "results" / f"gpu-{name}"
    out.mkdir(parents=True, exist_ok=True)
    timetrial = [sys.executable, "-m", "timetrial"]
    keep(out / "doctor.json", *timetrial, "doctor", "--measure", "--json")
    keep(out / "tests.txt", sys.executable, "-m", "pytest", "-m", "gpu", "-q", "tests/gpu")
    keep(out / "kernels.json", sys.executable, "benchmarks/kernels.py", "--json")
    command = [*timetrial, "time", "--batch", arguments.batch, "--repeats", arguments.repeats]
    command += ["--device", "cuda", "--dtype", "bfloat16", "--random-weights"]
    grid(out / "tables.md", ROOT / "results" / f"grid-{name}", *command, arguments.models)
    if llambas := ",".join(model for model in arguments.models.split(",") if model.startswith("llamba")):
        run = ROOT / "results" / f"grid-{name}-interval-16"
        grid(out / "tables-interval-16.md", run, *command, llambas, "--state-interval", "16")
    print(f"tables are in {out}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--batch", default=BATCHES)
    parser.add_argument("--repeats", default="3")
    return parser.parse_args()


def grid(tables: Path, run: Path, *command: str) -> None:
    """Time a grid in a run folder, and keep its tables."""
    check(*command, "--out", str(run))
    shutil.copy(run / "report" / "tables.md", tables)


def keep(path: Path, *command: str) -> None:
    """Run a command, keep what it prints, and stop if it fails."""
    print(f"$ {' '.join(command)}")
    run = subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    path.write_text(run.stdout)
    if run.returncode:
        sys.exit(f"{run.stdout}\nfailed with {run.returncode}: {' '.join(command)}")


def check(*command: str) -> None:
    """Run a command, and stop if it fails."""
    print(f"$ {' '.join(command)}")
    if code := subprocess.run(command, cwd=ROOT, env=environment()).returncode:
        sys.exit(f"failed with {code}: {' '.join(command)}")


def environment() -> dict[str, str]:
    """The variables of this process, and kernels that are compiled."""
    return {**os.environ, "TRITON_INTERPRET": "0"}


if __name__ == "__main__":
    main()
