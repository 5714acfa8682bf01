"""How fast step scores come, and in how much memory, beside the two ways in which published codes make them.

    python benchmarks/scoring.py [--repeats 3] [--threads 1] [--json]

One random Llama of 14 million parameters scores the solutions of one problem in four ways, whose scores are compared:

    shared      all steps in one forward, what the solutions begin with read once
    one         all steps in one forward
    vocabulary  one padded forward per eight solutions, with logits of the whole vocabulary
    per step    one forward per step, with logits of the whole vocabulary, as RLHFlow's own evaluation does; of the
                first four solutions only, for it takes long

Seconds are medians of interleaved repeats in one process; memory is the peak above the loaded model, each way in a
process of its own. The last column counts the products of an 8B Llama at the same lengths, without attention's.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from timetrial.clock import MonotonicClock
from timetrial_plugins.engine import placement
from timetrial_plugins.models.configurations import named_configurations
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.rewards.batching import shared_prefix
from timetrial_plugins.rewards.formats.encoded import Encoded, Labels
from timetrial_plugins.rewards.head import label_head
from timetrial_plugins.rewards.own_body import OwnBody
from timetrial_plugins.rewards.reader import Scores, SolutionReader

VOCABULARY, WIDTH, LAYERS, PADDED_ROWS, READ_PER_STEP = 32000, 256, 8, 8, 4
LABELS = Labels(plus=10, minus=12)
CPU = torch.device("cpu")


class Work(NamedTuple):
    """A model, and solutions to score with it."""

    module: Llama
    solutions: list[Encoded]


class Row(NamedTuple):
    """One line of the result."""

    way: str
    seconds: float
    """Of one solution, in the mean."""
    peak_bytes: int
    """Above what the loaded model takes."""


def make_work(num_solutions: int, prompt_tokens: int, seed: int = 0) -> Work:
    """Return a small Llama, and solutions of 8 to 10 steps of 30 to 60 tokens."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=True,
    )
    module = Llama(config).eval()
    module.initialise(torch.Generator().manual_seed(seed), std=0.05)
    generator = random.Random(seed)
    prompt = [generator.randrange(VOCABULARY) for _ in range(prompt_tokens)]
    solutions = []
    for _ in range(num_solutions):
        tokens, positions = list(prompt), []
        for _ in range(generator.randint(8, 10)):
            tokens += [generator.randrange(VOCABULARY) for _ in range(generator.randint(30, 60))]
            positions.append(len(tokens) - 1)
        solutions.append(Encoded(tuple(tokens), tuple(positions), prompt_tokens))
    return Work(module, solutions)


def in_one_forward(work: Work, *, may_share: bool = True) -> list[Scores]:
    head = label_head(work.module.anatomy.head.weight, None, LABELS)
    body = OwnBody(work.module, "llama", CPU)
    reader = SolutionReader(body=body, head=head, may_share=may_share, batch_tokens=4096)
    return reader.read(work.solutions, shared_prefix(work.solutions))


def without_sharing(work: Work) -> list[Scores]:
    return in_one_forward(work, may_share=False)


def full_vocabulary(work: Work) -> list[Scores]:
    """Batches of eight as they come, padded to their longest, logits (B, T, V), softmax over two of them."""
    scores = []
    for start in range(0, len(work.solutions), PADDED_ROWS):
        some = work.solutions[start : start + PADDED_ROWS]
        longest = max(len(one.tokens) for one in some)
        padded = [[*one.tokens, *[0] * (longest - len(one.tokens))] for one in some]
        with torch.inference_mode():
            logits = work.module.logits(torch.tensor(padded))
            for row, one in zip(logits, some, strict=True):
                scores.append(tuple(row[list(one.positions)][:, list(LABELS)].softmax(dim=1)[:, 0].tolist()))
    return scores


def per_step(work: Work) -> list[Scores]:
    """One sequence at a time, read anew for every step, the first few only."""
    scores = []
    for one in work.solutions[:READ_PER_STEP]:
        with torch.inference_mode():
            steps = (work.module.logits(torch.tensor([one.tokens[: position + 1]])) for position in one.positions)
            scores.append(tuple(float(logits[0, -1, list(LABELS)].softmax(dim=0)[0]) for logits in steps))
    return scores


WAYS: Mapping[str, Callable[[Work], list[Scores]]] = {
    "shared": in_one_forward,
    "one": without_sharing,
    "vocabulary": full_vocabulary,
    "per step": per_step,
}


def measure_seconds(work: Work, repeats: int) -> dict[str, float]:
    """Return the median seconds per solution of every way, after an uncounted round whose scores are compared."""
    rounds = {name: way(work) for name, way in WAYS.items()}
    for scores in rounds.values():
        for one, other in zip(rounds["shared"], scores, strict=False):
            torch.testing.assert_close(torch.tensor(one), torch.tensor(other), atol=1e-6, rtol=0)
    clock, seconds = MonotonicClock(), {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            start_s = clock.now()
            way(work)
            seconds[name].append(clock.now() - start_s)
    return {name: statistics.median(measured) / len(rounds[name]) for name, measured in seconds.items()}


def measure_memory(arguments: Sequence[str], name: str) -> int:
    """Return the peak of one way in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--memory-of", name]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_of(work: Work, name: str) -> int:
    """Return the peak resident bytes of one way, above those of the loaded model."""
    WAYS[name](Work(work.module, [one for one in work.solutions[:1]]))  # libraries take their own memory at first use
    placement.reset_peak(CPU)
    before, _ = placement.peak_bytes(CPU), WAYS[name](work)
    after = placement.peak_bytes(CPU)
    if before is None or after is None:
        raise SystemExit("this platform does not tell the peak memory of a process")
    return after - before


def counted_ratios(solutions: Sequence[Encoded]) -> dict[str, float]:
    """Return the products of an 8B Llama that the other ways make, relative to the first, attention's left out."""
    shape = next(shape for shape in named_configurations() if shape.name == "llama-3.1-8b")
    with torch.device("meta"):
        module = BUILDERS[shape.family](shape.config)
    head = module.anatomy.head.weight.numel()
    body = module.footprint.linear_parameters - head
    prefix = shared_prefix(solutions)
    lengths = [len(one.tokens) for one in solutions]
    shared = (sum(lengths) - prefix * (len(solutions) - 1)) * body
    steps = sum(position + 1 for one in solutions for position in one.positions)
    starts = range(0, len(lengths), PADDED_ROWS)
    padded = sum(len(some) * max(some) for some in (lengths[start : start + PADDED_ROWS] for start in starts))
    products = [shared, sum(lengths) * body, padded * (body + head), steps * (body + head)]
    return {name: product / shared for name, product in zip(WAYS, products, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solutions", type=int, default=16)
    parser.add_argument("--prompt-tokens", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work = make_work(options.solutions, options.prompt_tokens)
    if options.memory_of:
        print(peak_of(work, options.memory_of))
        return
    names = ("solutions", "prompt_tokens", "threads")
    arguments = [part for name in names for part in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]
    seconds = measure_seconds(work, options.repeats)
    rows = [Row(name, seconds[name], measure_memory(arguments, name)) for name in WAYS]
    counted = counted_ratios(work.solutions)
    if options.json:
        print(json.dumps({"rows": [row._asdict() for row in rows], "counted_8b": counted}, indent=2))
        return
    show(rows, counted, options.solutions)


def show(rows: Sequence[Row], counted: Mapping[str, float], num_solutions: int) -> None:
    """Print the table; ratios are to the first row."""
    table = Table(title=f"{num_solutions} solutions of one problem, {VOCABULARY:,} tokens in the vocabulary")
    for column in ("way", "solutions/s", "times as long", "peak above model", "times as much", "8B, counted"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for row in rows:
        table.add_row(
            row.way,
            f"{1 / row.seconds:.2f}",
            f"{row.seconds / rows[0].seconds:.2f}",
            f"{row.peak_bytes / 2**20:.0f} MiB",
            f"{row.peak_bytes / rows[0].peak_bytes:.2f}",
            f"{counted[row.way]:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
