"""Where the time of a step goes: products with the weights, attention, recurrences, and everything else.

Random models of about 5 million parameters decode a batch, each sequence with a copy of its prompt, and a clock is read
around every product, attention and recurrence. Medians over the steps; "rest" is norms, rotations, activations,
drawing, and what is between them. Native recurrences include convolutions and gates, the modules' own do not. "floor"
is the share of a step that its floor is (docs/timing.md): products at the rate of large matrices, and keys, values and
states at the bandwidth of memory, the higher of those measured just before and after.
Usage: python benchmarks/step_parts.py [--families llama,llamba,mamba_in_llama] [--batches 16,64,256]
       [--prompt-tokens 128] [--steps 64] [--kernels auto] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from generate import SIZES, better
from overhead import Stopwatch
from rich.console import Console
from rich.table import Table

from timetrial.clock import MonotonicClock
from timetrial.floor import decode_cost
from timetrial.protocol import Sampling
from timetrial.spec import LoadOptions
from timetrial_plugins.engine.batch import Batch
from timetrial_plugins.engine.random_weights import build_random
from timetrial_plugins.engine.roofline import measure_rates
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.models import attention
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.joint import JointLinear
from timetrial_plugins.models.step_function import StepFunction
from timetrial_plugins.ops.native.library import Calls

VOCABULARY = 583  # the nutshell tokenizer's, as in the other benchmarks
PARTS = ("products", "attention", "recurrences")
NATIVE_PARTS = {
    "product": "products",
    "attend": "attention",
    "llamba": "recurrences",
    "mamba1": "recurrences",
    "mamba2": "recurrences",
}


def watched_parts() -> dict[str, Stopwatch]:
    """Return stopwatches that count from now on what every model of this process does."""
    watches = {part: Stopwatch() for part in PARTS}
    watches["products"].watch(JointLinear, "__call__")
    watches["attention"].watch(attention, "attend_in_segments")
    watches["recurrences"].watch(StepFunction, "__call__")
    watch_calls(watches)
    return watches


def watch_calls(watches: dict[str, Stopwatch]) -> None:
    """Count on the stopwatches what every recorded call of a native kernel takes from now on."""

    def timed(calls: Calls, rows: int) -> None:
        for name, seconds in calls.timed(rows):
            if part := NATIVE_PARTS.get(name):
                watches[part].seconds += seconds

    Calls.__call__ = timed  # type: ignore[method-assign]  # in this process every call is timed


def measure(watches: dict[str, Stopwatch], arguments: argparse.Namespace) -> Iterator[Any]:
    """Yield a row for each family and batch."""
    options = options_of(arguments)
    for family in arguments.families.split(","):
        config = SIZES[family] | {"vocab_size": VOCABULARY}
        model = build_random(config, options, family=family, build=BUILDERS[family])
        for batch in map(int, arguments.batches.split(",")):
            length = arguments.prompt_tokens
            sampler = Sampler(Sampling(temperature=1.0))
            decode = model._batch(sampler, batch, length + arguments.steps + 1, shares_prompts=False)
            decode.admit(decode.prefill([token % VOCABULARY for token in range(length)]), range(batch))
            decode.advance()  # warms up
            before = measure_rates(options, MonotonicClock())
            steps = [timed_step(decode, watches) for _ in range(arguments.steps)]
            medians = {part: statistics.median(step[part] for step in steps) for part in ("step", *PARTS)}
            rates = better(before, measure_rates(options, MonotonicClock()))
            floor_s = decode_cost(model, batch, length + 1, arguments.steps, rates).floor_s
            assert floor_s is not None
            rest = medians["step"] - sum(medians[part] for part in PARTS)
            yield {
                "family": family,
                "batch": batch,
                "step_ms": 1e3 * medians["step"],
                **{part: medians[part] / medians["step"] for part in PARTS},
                "rest": rest / medians["step"],
                "floor": floor_s / arguments.steps / medians["step"],
            }


def timed_step(decode: Batch, watches: dict[str, Stopwatch]) -> dict[str, float]:
    """Return the seconds of one step, and of its parts."""
    clock, before = MonotonicClock(), {part: watch.seconds for part, watch in watches.items()}
    start = clock.now()
    decode.advance()
    return {"step": clock.now() - start} | {part: watch.seconds - before[part] for part, watch in watches.items()}


def options_of(arguments: argparse.Namespace) -> LoadOptions:
    """Return how models are loaded."""
    return LoadOptions(device="cpu", dtype="float32", kernels=arguments.kernels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(SIZES))
    parser.add_argument("--batches", default="16,64,256")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--kernels", default="auto", help="auto, native or eager")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows, threads = list(measure(watched_parts(), arguments)), torch.get_num_threads()
    if arguments.json:
        print(json.dumps({"arguments": vars(arguments), "threads": threads, "rows": rows}))
        return
    table = Table(*(name.replace("_", ", ") for name in rows[0]), title="a step", caption=f"{threads} threads")
    for family, batch, step_ms, *shares in (row.values() for row in rows):
        table.add_row(family, str(batch), f"{step_ms:.2f}", *(f"{share:.0%}" for share in shares))
    Console().print(table)


if __name__ == "__main__":
    main()
