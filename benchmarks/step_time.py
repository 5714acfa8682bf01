"""Does a step take longer only as it has more to do? Batch 1 to 512, context 128 to 4096, every family, here.

Random models decode a few steps after a prompt of each length, at each batch size. They have about 5 million parameters
or, with `--size large`, about 60 million, more than caches hold. All cells are measured a few times, each time in
another order, and the fastest step of each counts: what the machine did when least disturbed. A machine that other work
keeps busy says nothing all the same. Beside it stand the bytes of a step and its floor (docs/timing.md), and growth:

    "/bytes"     (time / time of the batch's first) / (bytes / bytes of the batch's first)
    "/reading"   the same with the seconds that so many bytes take at the rate that was measured for so many
    "/floor"     the same with floors, which count operations as well, from the very first cell on

More sequences at one context mean more multiplications by the same weights, which a processor feels long before it
feels their bytes; so bytes bound the growth with context, at each batch, and floors bound all of it. Where a batch's
first step is read from a cache and its last from memory, a byte costs more in the last, and a loop that only reads them
grows faster than they do: "/reading" compares with that. A family holds if none of the three is passed by more than
the tolerance, at any batch. A family without attention has to be flat in context on top: its slowest context at batch
64 over its fastest.
Usage: python benchmarks/step_time.py [--families llama,llamba,mamba_in_llama] [--size small|large]
       [--batches 1,4,16,64,256,512] [--contexts 128,512,2048,4096] [--steps 10] [--repeats 3] [--tolerance 1.15]
       [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from generate import LLAMA, LLAMBA, SIZES, better
from rich.console import Console
from rich.progress import track
from rich.table import Table

from timetrial.clock import MonotonicClock
from timetrial.floor import decode_cost
from timetrial.protocol import Sampling
from timetrial.spec import LoadOptions
from timetrial_plugins.engine import placement
from timetrial_plugins.engine.batch import PrefilledPrompt
from timetrial_plugins.engine.random_weights import RandomModel, build_random
from timetrial_plugins.engine.roofline import measure_rates
from timetrial_plugins.engine.sampler import Sampler, stream_seed
from timetrial_plugins.models.families import BUILDERS

VOCABULARY = 583  # the nutshell tokenizer's, as in the other benchmarks
LARGE_LLAMA = LLAMA | {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "head_dim": 64,
}
MAMBA = {"ssm_cfg": {"expand": 1}, "d_xb": 256, "intermediate_size": 4096, "attn_layers": [1, 3]}
LARGE_LLAMBA = LLAMBA | {
    "d_model": 1024,
    "n_layer": 4,
    "mlp_cfg": {"intermediate_size": 4096},
    "ssm_cfg": {"d_state": 32, "n_v_heads": 16, "n_qk_heads": 16},
}
LARGE = {"llama": LARGE_LLAMA, "llamba": LARGE_LLAMBA, "mamba_in_llama": LARGE_LLAMA | {"mamba_config": MAMBA}}
FLAT_BATCH = 64
LEAST_S = 0.1
OPTIONS = LoadOptions(device="cpu", dtype="float32")
SAMPLER = Sampler(Sampling(temperature=1.0))
CLOCK = MonotonicClock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One batch at one context."""

    family: str
    batch: int
    context: int
    """Tokens before the first step; it grows by one with each."""
    step_s: float
    step_bytes: float
    reading_s: float
    """Of so many bytes."""
    floor_s: float
    """Of one step."""


def measure(family: str, arguments: argparse.Namespace) -> list[Cell]:
    """Time every cell of a family that fits, and say which do not."""
    sizes = {"small": SIZES, "large": LARGE}[arguments.size]
    model = build_random(sizes[family] | {"vocab_size": VOCABULARY}, OPTIONS, family=family, build=BUILDERS[family])
    rates = measure_rates(OPTIONS, CLOCK)
    shapes = [shape for shape in shapes_of(arguments) if fits(model, *shape, arguments.steps)]
    prompts = {context: read_prompt(model, context) for context in sorted({context for _, context in shapes})}
    fastest_s = dict.fromkeys(shapes, float("inf"))
    for repeat in range(arguments.repeats):
        turns, name = random.sample(shapes, len(shapes)), f"{family}, {repeat + 1} of {arguments.repeats}"
        for batch, context in track(turns, name, console=Console(stderr=True)):
            step_s = fastest_step_s(model, prompts[context], batch, context + arguments.steps, arguments.steps)
            fastest_s[batch, context] = min(fastest_s[batch, context], step_s)
        rates = better(rates, measure_rates(OPTIONS, CLOCK))
    cells = []
    for (batch, context), step_s in fastest_s.items():
        cost = decode_cost(model, batch, context, arguments.steps, rates)
        assert cost.floor_s is not None
        floor_s = cost.floor_s / arguments.steps
        reading_s = cost.step_bytes / rates.bytes_per_s(cost.step_bytes)
        place = {"family": family, "batch": batch, "context": context}
        cells.append(Cell(**place, step_s=step_s, step_bytes=cost.step_bytes, reading_s=reading_s, floor_s=floor_s))
    return cells


def read_prompt(model: RandomModel, context: int) -> PrefilledPrompt:
    """Read a prompt that leaves one token of the context to the warm-up; once, for all batches and repeats."""
    prompt = torch.randint(VOCABULARY, (context - 1,), generator=torch.Generator().manual_seed(context)).tolist()
    return model._batch(SAMPLER, 1, context, shares_prompts=False).prefill(prompt)


def fastest_step_s(model: RandomModel, prompt: PrefilledPrompt, batch: int, capacity: int, steps: int) -> float:
    """Return the seconds of the fastest step of a batch, each sequence with its own copy of the prompt.

    Short steps are taken again after the same prompt: the machine is rarely undisturbed.
    """
    seconds: list[float] = []
    while sum(seconds) < LEAST_S:
        decode = model._batch(SAMPLER, batch, capacity, shares_prompts=False)
        decode.admit(prompt, [stream_seed(0, "step time", row) for row in range(batch)])
        decode.advance()  # warms up, and makes the random numbers of the others
        for _ in range(steps):
            start_s = CLOCK.now()
            decode.advance()
            seconds.append(CLOCK.now() - start_s)
    return min(seconds)


def shapes_of(arguments: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Yield (batch, context), the smallest first."""
    for batch in sorted(map(int, arguments.batches.split(","))):
        for context in sorted(map(int, arguments.contexts.split(","))):
            yield batch, context


def fits(model: RandomModel, batch: int, context: int, steps: int) -> bool:
    """Whether the memory of the sequences takes less than half of what is free; if not, say so."""
    needed = model.costs(batch, context + steps).bytes_moved
    free = placement.free_bytes(torch.device("cpu"))
    if free is None or needed < free / 2:
        return True
    numbers = f"{needed / 1e9:.1f} GB of keys, values and states, and {free / 1e9:.1f} GB free"
    Console(stderr=True).print(f"{model.description['family']}, {batch} x {context}: left out, {numbers}")
    return False


def growth(cell: Cell, batch_first: Cell, first: Cell) -> dict[str, float]:
    """Return how much more a cell's time has grown than its bytes, than reading them takes, and than its floor."""
    time = cell.step_s / batch_first.step_s
    return {
        "by_bytes": time / (cell.step_bytes / batch_first.step_bytes),
        "by_reading": time / (cell.reading_s / batch_first.reading_s),
        "by_floor": (cell.step_s / first.step_s) / (cell.floor_s / first.floor_s),
    }


def growths(cells: Sequence[Cell]) -> list[dict[str, float]]:
    """Return the growth of each cell of a family."""
    first = cells[0]
    of_batch = {cell.batch: cell for cell in cells if cell.context == first.context}
    return [growth(cell, of_batch[cell.batch], first) for cell in cells]


def verdict(cells: Sequence[Cell], tolerance: float) -> dict[str, Any]:
    """Return the worst growth of each kind and, of a family without attention, how flat it is."""
    first, grown = cells[0], growths(cells)
    facts: dict[str, Any] = {"family": first.family} | {name: max(one[name] for one in grown) for name in grown[0]}
    has_attention = len({cell.step_bytes for cell in cells if cell.batch == first.batch}) > 1
    flat = [cell.step_s for cell in cells if cell.batch == FLAT_BATCH]
    if not has_attention and flat:
        facts["slowest_context_over_fastest"] = max(flat) / min(flat)
    return facts | {"holds": all(value <= tolerance for value in facts.values() if isinstance(value, float))}


def show(cells: Sequence[Cell], facts: dict[str, Any], tolerance: float) -> None:
    """Print a family's cells and its verdict."""
    console = Console(width=100)
    columns = ("batch", "context", "ms/step", "MiB/step", "floor, ms", "% of floor", "/bytes", "/reading", "/floor")
    title = f"{facts['family']}: a step, {torch.get_num_threads()} threads, load average {load_average() or 'unknown'}"
    table = Table(*columns, title=title)
    for cell, grown in zip(cells, growths(cells), strict=True):
        numbers = (1e3 * cell.step_s, cell.step_bytes / 2**20, 1e3 * cell.floor_s, 100 * cell.floor_s / cell.step_s)
        row = (*(f"{number:.3g}" for number in numbers), *(f"{number:.2f}" for number in grown.values()))
        table.add_row(str(cell.batch), str(cell.context), *row)
    console.print(table)
    said = [f"{facts['family']}: time grows at most x{facts['by_bytes']:.2f} as much as bytes with context"]
    said.append(f"x{facts['by_reading']:.2f} as much as the seconds of reading them")
    said.append(f"x{facts['by_floor']:.2f} as much as the floor over all cells")
    if flat := facts.get("slowest_context_over_fastest"):
        said.append(f"slowest context over fastest at batch {FLAT_BATCH}: x{flat:.2f}")
    holds = "Holds" if facts["holds"] else "Does not hold"
    console.print(f"{'; '.join(said)}. {holds} within x{tolerance:g}.\n", highlight=False)


def load_average() -> float | None:
    """Return how many processes wanted a core in the last minute; None where nobody counts them."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(SIZES))
    parser.add_argument("--size", choices=("small", "large"), default="small")
    parser.add_argument("--batches", default="1,4,16,64,256,512")
    parser.add_argument("--contexts", default="128,512,2048,4096")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=1.15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    random.seed(0)
    rows: list[Cell] = []
    verdicts = []
    for family in arguments.families.split(","):
        cells = measure(family, arguments)
        rows += cells
        verdicts.append(verdict(cells, arguments.tolerance))
        if not arguments.json:
            show(cells, verdicts[-1], arguments.tolerance)
    if arguments.json:
        facts = {"arguments": vars(arguments), "threads": torch.get_num_threads(), "load_average": load_average()}
        print(json.dumps(facts | {"cells": [asdict(cell) for cell in rows], "verdicts": verdicts}))


if __name__ == "__main__":
    main()
