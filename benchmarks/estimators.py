"""How long the estimators take on 500 problems of 256 samples at 9 values of k, beside plain code for the same numbers.

    python benchmarks/estimators.py [--repeats 5] [--json]

Times are the least of several repeats. The plain versions run on a few problems and are scaled up; their results are
checked against the estimators', so that both columns are about the same computation.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from timetrial.clock import MonotonicClock
from timetrial.statistics.best_of import best_of_k
from timetrial.statistics.bootstrap import bootstrap_mean, bootstrap_weights
from timetrial.statistics.coverage import pass_at_k
from timetrial.statistics.majority import majority_at_k
from timetrial.statistics.table import FloatArray, VoteTable
from timetrial.statistics.weighted import weighted_at_k

PROBLEMS, SAMPLES, PERMUTATIONS, REPLICATES = 500, 256, 256, 10_000
KS = [2**power for power in range(9)]


class Row(NamedTuple):
    """One line of the result."""

    estimator: str
    seconds: float
    target_s: float
    plain: str
    plain_s: float


def synthetic_pool(seed: int = 0) -> VoteTable:
    """Draw a pool like a 1B model's on MATH-500: a quarter right, a long tail of wrong answers, 8 % abstentions."""
    rng = np.random.default_rng(seed)
    classes = np.empty((PROBLEMS, SAMPLES), dtype=np.int64)
    for row in range(PROBLEMS):
        right = rng.beta(0.35, 1.0)
        wrong = rng.dirichlet(np.full(150, 10 ** rng.uniform(-2.2, -0.3)))
        shares = np.concatenate([[0.92 * right], 0.92 * (1 - right) * wrong, [0.08]])
        drawn = rng.choice(152, size=SAMPLES, p=shares / shares.sum())
        present = np.unique(np.append(drawn[drawn < 151], 0))  # classes that occur are numbered without gaps
        classes[row] = np.where(drawn == 151, -1, np.searchsorted(present, drawn))
    correct = np.zeros((PROBLEMS, classes.max() + 1), dtype=bool)
    correct[:, 0] = True
    # Rounded as a reward model's bfloat16 probabilities are: ties are common.
    scores = np.round(np.clip(rng.beta(2, 2, classes.shape) + 0.15 * (classes == 0), 0, 1) * 256) / 256
    return VoteTable(problems=tuple(map(str, range(PROBLEMS))), classes=classes, correct=correct, scores=scores)


def plain_pass_at_k(table: VoteTable) -> FloatArray:
    """One product per problem and k."""
    counts = table.sample_correct.sum(axis=1)
    factors = [np.arange(SAMPLES - count + 1, SAMPLES + 1) for count in counts]
    return np.array([[1 - np.prod(1 - k / f) if SAMPLES - len(f) >= k else 1.0 for k in KS] for f in factors])


def plain_best_of_k(table: VoteTable) -> FloatArray:
    """Integer binomials for each group of equal scores."""
    values = []
    for classes, correct, scores in zip(table.classes, table.sample_correct, table.require_scores(), strict=True):
        ranked = np.where(classes >= 0, scores, -np.inf)
        row = [0.0] * len(KS)
        for score in np.unique(ranked):
            group = ranked == score
            below, size = int((ranked < score).sum()), int(group.sum())
            for column, k in enumerate(KS):
                subsets = math.comb(below + size, k) - math.comb(below, k)
                row[column] += correct[group].mean() * subsets / math.comb(SAMPLES, k)
        values.append(row)
    return np.array(values)


def plain_majority_at_k(table: VoteTable) -> FloatArray:
    """The generating function with its table of coefficients by ties and degree, all k at once."""
    # The tilt 2^-n keeps every number in range.
    tilted = [np.array([math.comb(n, i) / 2**n for i in range(n + 1)]) for n in range(SAMPLES + 1)]
    return np.array([_plain_majority(row, tilted) for row in table.classes])


def _plain_majority(classes: np.ndarray, tilted: Sequence[FloatArray]) -> list[float]:
    sizes = Counter(classes[classes >= 0].tolist())
    own = sizes.pop(0, 0)
    wins = np.zeros(SAMPLES + 1)
    for m in range(1, own + 1):
        big = [size for size in sizes.values() if size >= m]
        by_ties = [tilted[SAMPLES - own - sum(big)]]
        for size in big:
            grown = [np.convolve(row, tilted[size][:m]) for row in by_ties] + [np.zeros(1)]
            tied = [np.zeros(1)] + [np.concatenate([np.zeros(m), row * tilted[size][m]]) for row in by_ties]
            by_ties = [_add(*pair) for pair in zip(grown, tied, strict=True)]
        for ties, row in enumerate(by_ties):
            end = min(len(wins), m + len(row))
            wins[m:end] += tilted[own][m] * row[: end - m] / (ties + 1)
    return [wins[k] / tilted[SAMPLES][k] for k in KS]


def _add(first: FloatArray, second: FloatArray) -> FloatArray:
    total = np.zeros(max(len(first), len(second)))
    total[: len(first)] += first
    total[: len(second)] += second
    return total


def plain_weighted_at_k(table: VoteTable) -> FloatArray:
    """One dictionary of sums per permutation."""
    rng = np.random.default_rng(0)
    values = []
    for classes, scores in zip(table.classes.tolist(), table.require_scores().tolist(), strict=True):
        hits = np.zeros(len(KS))
        for _ in range(PERMUTATIONS):
            sums: dict[int, float] = {}
            for place, sample in enumerate(rng.permutation(SAMPLES).tolist(), start=1):
                if classes[sample] >= 0:
                    sums[classes[sample]] = sums.get(classes[sample], 0.0) + scores[sample]
                if place in KS and sums:
                    hits[KS.index(place)] += max(sums, key=sums.__getitem__) == 0
        values.append(hits / PERMUTATIONS)
    return np.array(values)


def plain_bootstrap(values: FloatArray) -> FloatArray:
    """One draw of problems per replicate."""
    rng = np.random.default_rng(1)
    means = [values[rng.integers(len(values), size=len(values))].mean(axis=0) for _ in range(REPLICATES)]
    return np.percentile(means, [2.5, 97.5], axis=0)


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least time of several repeats."""
    clock, times = MonotonicClock(), []
    for _ in range(repeats):
        start = clock.now()
        work()
        times.append(clock.now() - start)
    return min(times)


def first_problems(table: VoteTable, count: int) -> VoteTable:
    return VoteTable(
        problems=table.problems[:count],
        classes=table.classes[:count],
        correct=table.correct[:count],
        scores=table.require_scores()[:count],
    )


def check(name: str, ours: FloatArray, plain: FloatArray, tolerance: float) -> None:
    """Stop if the two versions do not agree."""
    worst = float(np.abs(ours - plain).max())
    if worst > tolerance:
        raise SystemExit(f"{name}: the plain version differs by {worst}, more than {tolerance}")


def measure(repeats: int) -> list[Row]:
    """Time every estimator and its plain version."""
    table = synthetic_pool()
    values = majority_at_k(table, KS)
    exact = [
        ("pass@k", pass_at_k, 0.010, plain_pass_at_k, "a product per problem and k", PROBLEMS),
        ("Best-of-N, exact", best_of_k, 0.100, plain_best_of_k, "integer binomials per score", 10),
        ("majority, exact", majority_at_k, 6.0, plain_majority_at_k, "coefficients by ties and degree", 40),
    ]
    rows = []
    for name, estimator, target_s, plain, description, count in exact:
        few = first_problems(table, count)
        check(name, estimator(few, KS), plain(few), 1e-9)
        plain_s = seconds(lambda plain=plain, few=few: plain(few), 1) * PROBLEMS / count
        rows.append(Row(name, seconds(lambda e=estimator: e(table, KS), repeats), target_s, description, plain_s))
    few = first_problems(table, 5)
    check("weighted", weighted_at_k(few, KS).values.mean(0), plain_weighted_at_k(few).mean(0), 0.1)
    plain_s = seconds(lambda: plain_weighted_at_k(few), 1) * PROBLEMS / 5
    ours_s = seconds(lambda: weighted_at_k(table, KS, permutations=PERMUTATIONS), repeats)
    rows.append(Row(f"weighted, {PERMUTATIONS} permutations", ours_s, 2.0, "a dictionary per permutation", plain_s))

    def bootstrap() -> tuple[FloatArray, FloatArray]:
        interval = bootstrap_mean(values, bootstrap_weights(PROBLEMS, REPLICATES))
        return interval.low, interval.high

    check("bootstrap", np.array(bootstrap()), plain_bootstrap(values), 0.003)
    plain_s = seconds(lambda: plain_bootstrap(values), 1)
    rows.append(Row(f"bootstrap, {REPLICATES} replicates", seconds(bootstrap, repeats), 1.0, "a draw each", plain_s))
    return rows


def show(rows: Sequence[Row]) -> None:
    table = Table(title=f"{PROBLEMS} problems x {SAMPLES} samples, k = {', '.join(map(str, KS))}")
    for header in ("estimator", "seconds", "target", "plain version", "seconds"):
        table.add_column(header, justify="right" if header in ("seconds", "target") else "left")
    for row in rows:
        table.add_row(row.estimator, f"{row.seconds:.4f}", f"{row.target_s:g}", row.plain, f"{row.plain_s:.3f}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="timed repeats of each estimator; the least counts")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rows = measure(options.repeats)
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
