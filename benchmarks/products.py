"""Products of a decode step's rows with the weights of a model of about 5 million parameters, beside those of oneDNN.

All matrices of a Llama's step are multiplied one after the other, so that weights come from where they come from in a
step. Each side is called as a step calls it, in turns: oneDNN's products from Python, one by one, native ones as a
recorded list. "rate" is the share of the rate at which this machine multiplies large matrices; with few rows it is
reading the weights that takes time.
Usage: python benchmarks/products.py [--rows 1,2,4,8,16,32,64,256] [--dtype float32] [--repeats 30] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from generate import LLAMA
from rich.console import Console
from rich.table import Table

from timetrial.clock import MonotonicClock
from timetrial.spec import LoadOptions
from timetrial_plugins.engine.roofline import measure_rates
from timetrial_plugins.models.joint import Product
from timetrial_plugins.models.packed import PackedProduct
from timetrial_plugins.ops.native.native_ops import native_kernels

VOCABULARY = 583  # the nutshell tokenizer's, as in the other benchmarks


def weights_of_a_step(dtype: torch.dtype) -> list[torch.Tensor]:
    """Return random matrices (E, D) in the order and shapes of a Llama's step."""
    width, inner, head_dim = (LLAMA[name] for name in ("hidden_size", "intermediate_size", "head_dim"))
    heads, groups = LLAMA["num_attention_heads"], LLAMA["num_key_value_heads"]
    layer = [((heads + 2 * groups) * head_dim, width), (width, heads * head_dim), (2 * inner, width), (width, inner)]
    shapes = layer * LLAMA["num_hidden_layers"] + [(VOCABULARY, width)]
    return [torch.randn(shape, dtype=dtype) / shape[1] ** 0.5 for shape in shapes]


def seconds_of(sides: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median seconds of each side, called in turns."""
    clock = MonotonicClock()
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(repeats + 1):
        for side, seconds in zip(sides, taken, strict=True):
            start = clock.now()
            side()
            seconds.append(clock.now() - start)
    return [statistics.median(seconds[1:]) for seconds in taken]  # the first time warms up


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row of the table for each number of rows."""
    dtype = getattr(torch, arguments.dtype)
    weights = weights_of_a_step(dtype)
    kernels = native_kernels(dtype)
    native, onednn = ([make(weight, None) for weight in weights] for make in (kernels.product, PackedProduct))
    flops = 2 * sum(weight.numel() for weight in weights)
    found = []
    for rows in map(int, arguments.rows.split(",")):
        inputs = {width: torch.randn(rows, width, dtype=dtype) for width in {weight.shape[1] for weight in weights}}

        def multiply(products: Sequence[Product], inputs: dict[int, torch.Tensor] = inputs) -> None:
            for product, weight in zip(products, weights, strict=True):
                product(inputs[weight.shape[1]])

        recorded = partial(kernels.recorded(partial(multiply, native), rows), rows)
        native_s, onednn_s = seconds_of([recorded, partial(multiply, onednn)], arguments.repeats)
        rate = measure_rates(LoadOptions(device="cpu", dtype=arguments.dtype), MonotonicClock()).flops_per_s
        found.append(
            {
                "rows": rows,
                "native_ms": 1e3 * native_s,
                "onednn_ms": 1e3 * onednn_s,
                "ratio": onednn_s / native_s,
                "rate": rows * flops / native_s / rate,
            }
        )
    return found


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1,2,4,8,16,32,64,256")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows, threads = measure(arguments), torch.get_num_threads()
    if arguments.json:
        print(json.dumps({"arguments": vars(arguments), "threads": threads, "rows": rows}))
        return
    names = ("rows", "native, ms", "oneDNN, ms", "ratio", "rate")
    table = Table(*names, title="all products of a step", caption=f"{threads} threads")
    for row in rows:
        times = (f"{row[name]:.2f}" for name in ("native_ms", "onednn_ms", "ratio"))
        table.add_row(str(row["rows"]), *times, f"{row['rate']:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
