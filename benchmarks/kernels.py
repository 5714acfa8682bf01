"""Microseconds of every operation of a decode step on a CUDA device: PyTorch, Triton, and installed libraries.

Times are those inside of a CUDA graph, in the shapes of Llama-3.2-1B and -3B and of the students made of them, bfloat16
with float32 states. "of bandwidth" is the share of the measured bandwidth at which the fastest one moves its arguments
and results: states count twice, for they are read and written, and a replayed state as often as it is written.
Usage: python benchmarks/kernels.py [--shapes 1b,3b] [--rows 1,32,256] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from timetrial.clock import MonotonicClock
from timetrial.report.table import Table, to_rich
from timetrial.spec import LoadOptions
from timetrial_plugins.engine.graph import CudaRecorder
from timetrial_plugins.engine.graph_timing import GraphStopwatch
from timetrial_plugins.engine.roofline import measure_rates
from timetrial_plugins.ops.activation import LOADERS
from timetrial_plugins.ops.packages import MODULES, inspect_package
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.selection import DeviceFacts, implementations
from timetrial_plugins.ops.step_ops import Memory, ReplayMemory
from timetrial_plugins.ops.trials import LLAMAS, Trials, TrialSizes
from timetrial_plugins.ops.triton_ops import triton_ops


class Row(NamedTuple):
    shape: str
    rows: int
    operation: str
    seconds: dict[str, float | None]
    """By implementation; None: it does not run here."""
    moved_bytes: int


def main() -> None:
    arguments = parse()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/kernels.py needs a CUDA device: PyTorch finds none here (`timetrial doctor` says why)")
    device = torch.device("cuda")
    clock = MonotonicClock(lambda: torch.cuda.synchronize(device))
    bandwidth = measure_rates(LoadOptions(device="cuda", dtype="bfloat16"), clock).bandwidths[-1][1]
    watch = GraphStopwatch(CudaRecorder(device), clock)
    with torch.inference_mode():
        rows = [
            row
            for shape in arguments.shapes.split(",")
            for count in map(int, arguments.rows.split(","))
            for row in measured(shape, count, device, watch)
        ]
    if arguments.json:
        print(json.dumps({"bytes_per_s": bandwidth, "rows": [row._asdict() for row in rows]}, indent=2))
    else:
        Console().print(to_rich(table(rows, bandwidth)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="1b,3b", help=f"of {', '.join(LLAMAS)}")
    parser.add_argument("--rows", default="1,32,256")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measured(shape: str, rows: int, device: torch.device, watch: GraphStopwatch) -> Iterator[Row]:
    """One row for each operation."""
    kernels = {"pytorch": REFERENCE, **challengers(device)}
    trials = Trials(TrialSizes(rows=rows, **LLAMAS[shape]), device, torch.bfloat16).all()
    for name, arguments in trials.items():
        operation = name.partition(" ")[0]
        seconds = {}
        for implementation, ops in kernels.items():
            work = ops.get(operation) if isinstance(ops, dict) else getattr(ops, operation)
            seconds[implementation] = None if work is None else seconds_of(work, arguments, watch)
        yield Row(shape, rows, name, seconds, moved_bytes(name, arguments))


def challengers(device: torch.device) -> dict[str, Any]:
    """What runs here besides PyTorch: a StepOps, or a dictionary of some operations."""
    facts = DeviceFacts("cuda", torch.cuda.get_device_capability(device))
    packages = {name: inspect_package(name) for name in MODULES}
    usable = {entry.name for entry in implementations(facts, packages) if entry.problem is None}
    if "triton" not in usable:
        return {}
    ops = triton_ops()
    return {"triton": ops} | {name: dict(LOADERS[name](ops)) for name in LOADERS if name in usable}


def seconds_of(work: Any, arguments: Sequence[Any], watch: GraphStopwatch) -> float | None:
    try:
        return watch.shortest_s(lambda: work(*arguments))
    except RuntimeError as cause:
        print(f"{work}: {cause}", file=sys.stderr)
        return None


def moved_bytes(name: str, arguments: Sequence[Any]) -> int:
    """Bytes read and written at least; results are as large as activations and left out."""
    if name == "rotate_and_store":
        return 2 * arguments[0].nbytes
    total = sum(map(bytes_of, arguments))
    return total - bytes_of(arguments[1]) // 2 if name == "attend shared" else total  # half of the own slots are in use


def bytes_of(argument: Any) -> int:
    if isinstance(argument, ReplayMemory):
        state, others = argument.state.nbytes, sum(part.nbytes for part in argument) - argument.state.nbytes
        return state + state // argument.x.shape[2] + others // 2
    if isinstance(argument, Memory):
        return 2 * sum(part.nbytes for part in argument)
    if isinstance(argument, tuple):
        return sum(map(bytes_of, argument))
    return argument.nbytes if isinstance(argument, Tensor) else 0


def table(rows: Sequence[Row], bandwidth: float) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row.seconds))
    return Table(
        title="Microseconds of an operation",
        columns=("shape", "operation", "rows", *names, "of bandwidth"),
        rows=tuple(
            (
                row.shape,
                row.operation,
                str(row.rows),
                *(micro(row.seconds[name]) for name in names),
                share(row, bandwidth),
            )
            for row in rows
        ),
        num_text_columns=2,
        note=f"{torch.cuda.get_device_name()}, measured bandwidth {bandwidth / 1e9:.0f} GB/s",
    )


def micro(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:.1f}"


def share(row: Row, bandwidth: float) -> str:
    known = [seconds for seconds in row.seconds.values() if seconds is not None]
    return f"{100 * row.moved_bytes / bandwidth / min(known):.0f} %" if known else "-"


if __name__ == "__main__":
    main()
