"""How long replay takes on 500 problems of 256 samples, and how far its closed forms are from all subsets.

    python benchmarks/replay.py [--problems 500] [--samples 256] [--json]

Lengths are drawn like those of a reasoning model: log-normal around 300 tokens, a few cut at 2,048. Expected seconds
are computed for every k from 1 to N; deadline curves at powers of two.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from timetrial.clock import MonotonicClock
from timetrial.protocol import Aggregator
from timetrial.record import Series
from timetrial.stages.deadline import deadline_curves
from timetrial.stages.deadline_values import Contender, DeadlineSettings
from timetrial.stages.lengths import LengthPool
from timetrial.stages.pools import VotePool
from timetrial.statistics.best_of import best_of_k
from timetrial.statistics.choice import best_of_choice, majority_choice, weighted_choice
from timetrial.statistics.majority import majority_at_k
from timetrial.statistics.schedule import schedule
from timetrial.statistics.step_seconds import StepSeconds
from timetrial.statistics.subset_seconds import MODES, Mode, expected_seconds
from timetrial.statistics.table import FloatArray, IntArray, VoteTable

BATCHES = tuple(2**power for power in range(11))


class Row(NamedTuple):
    """One line of the result."""

    what: str
    seconds: float


class Majority:
    """Majority voting, with its closed form."""

    needs_scores = False

    def choose(self, classes: IntArray, scores: FloatArray | None) -> IntArray:
        """Return the class with the most votes."""
        return majority_choice(classes)

    def expected_accuracy(self, table: VoteTable, ks: tuple[int, ...]) -> FloatArray:
        """Return the exact expectation."""
        return majority_at_k(table, ks)


class BestOf:
    """Best-of-N, with its closed form."""

    needs_scores = True

    def choose(self, classes: IntArray, scores: FloatArray | None) -> IntArray:
        """Return the class of the highest score."""
        assert scores is not None
        return best_of_choice(classes, scores)

    def expected_accuracy(self, table: VoteTable, ks: tuple[int, ...]) -> FloatArray:
        """Return the exact expectation."""
        return best_of_k(table, ks)


class Weighted:
    """Weighted Best-of-N, by permutations."""

    needs_scores = True

    def choose(self, classes: IntArray, scores: FloatArray | None) -> IntArray:
        """Return the class with the largest sum of scores."""
        assert scores is not None
        return weighted_choice(classes, scores)


def synthetic(problems: int, samples: int) -> Contender:
    """Draw answers and lengths; a step costs what one of a small model on a CPU does."""
    rng = np.random.default_rng(0)
    is_right = rng.random((problems, samples)) < rng.beta(0.5, 1.0, size=(problems, 1))
    names = tuple(f"p{number:04}" for number in range(problems))
    table = VoteTable(
        problems=names,
        classes=np.where(is_right, 0, rng.integers(-1, 20, size=(problems, samples))),
        correct=np.tile(np.arange(20) == 0, (problems, 1)),
    )
    scored = VoteTable(
        problems=names, classes=table.classes, correct=table.correct, scores=rng.random((problems, samples))
    )
    hardness = rng.normal(0, 0.4, size=(problems, 1))
    lengths = np.exp(rng.normal(5.7, 0.5, size=(problems, samples)) + hardness)
    series = Series("synthetic", "task", 0.8)
    return Contender(
        votes=VotePool(
            series=series, table=table, scored={"prm": scored}, num_left_out=0, num_unknown=0, num_split_classes=0
        ),
        lengths=LengthPool(
            series=series,
            problems=names,
            prompt_tokens=rng.integers(40, 400, size=problems),
            lengths=np.clip(lengths, 1, 2048).astype(np.int64),
            num_left_out=0,
        ),
        steps=StepSeconds(
            batches=BATCHES,
            fixed_s=tuple(2e-3 + 6e-5 * batch for batch in BATCHES),
            per_token_s=tuple(3e-7 * batch for batch in BATCHES),
        ),
        ks=tuple(k for k in BATCHES if k <= samples),
    )


def measure(contender: Contender) -> list[Row]:
    """Time every computation once."""
    lengths, steps = contender.lengths, contender.steps
    every_k = range(1, min(lengths.num_samples, steps.largest) + 1)
    prompts = np.repeat(lengths.prompt_tokens, lengths.num_samples)
    rules: dict[str, Aggregator] = {"majority": Majority(), "best-of-n": BestOf(), "weighted": Weighted()}
    computations: dict[str, Callable[[], object]] = {
        f"{mode} seconds, every k to {every_k[-1]}": lambda mode=mode: expected_seconds(
            steps, mode, lengths.prompt_tokens, lengths.lengths, every_k
        )
        for mode in MODES
    }
    computations[f"list schedule of {prompts.size:,} completions, 64 rows"] = lambda: schedule(
        steps, prompts, lengths.lengths.ravel(), 64
    )
    computations["deadline curves, 4 rules, both modes"] = lambda: deadline_curves(
        [contender], rules, DeadlineSettings()
    )
    return [Row(what, _seconds(compute)) for what, compute in computations.items()]


def _seconds(compute: Callable[[], object]) -> float:
    clock = MonotonicClock()
    start_s = clock.now()
    compute()
    return clock.now() - start_s


def largest_error(mode: Mode) -> float:
    """Return the largest deviation from the mean over all subsets of 10 samples, relative."""
    rng = np.random.default_rng(1)
    steps = StepSeconds(batches=(1, 4, 10), fixed_s=(1.0, 1.1, 3.0), per_token_s=(0.01, 0.02, 0.09))
    lengths, prompts = rng.integers(0, 40, size=(5, 10)), rng.integers(0, 30, size=5)
    exact = expected_seconds(steps, mode, prompts, lengths, range(1, 11))
    errors = []
    for row, k in itertools.product(range(5), range(1, 11)):
        total = math.fsum(
            _walk(steps, mode, int(prompts[row]), subset) for subset in itertools.combinations(lengths[row].tolist(), k)
        )
        errors.append(abs(float(exact[row, k - 1]) / (total / math.comb(10, k)) - 1))
    return max(errors)


def _walk(steps: StepSeconds, mode: Mode, prompt: int, lengths: tuple[int, ...]) -> float:
    """Add up the steps of one batch, one at a time."""
    fixed_s, per_token_s = steps.at(range(1, len(lengths) + 1))
    seconds = []
    for step in range(1, max(lengths) + 1):
        running = len(lengths) if mode == "static" else sum(length >= step for length in lengths)
        seconds.append(float(fixed_s[running - 1] + per_token_s[running - 1] * (prompt + step)))
    return math.fsum(seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = measure(synthetic(asked.problems, asked.samples))
    errors = {mode: largest_error(mode) for mode in MODES}
    if asked.json:
        print(json.dumps({"rows": [row._asdict() for row in rows], "largest_relative_error": errors}, indent=2))
        return
    table = Table("computation", "seconds", title=f"{asked.problems} problems of {asked.samples} samples")
    for row in rows:
        table.add_row(row.what, f"{row.seconds:.2f}")
    Console().print(table)
    for mode, error in errors.items():
        print(f"{mode}: largest relative deviation from the mean over all subsets of 10 samples {error:.1e}")


if __name__ == "__main__":
    main()
