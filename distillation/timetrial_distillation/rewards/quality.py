"""How good step scores are: whether they rank steps, mean what they say, and find the first error.

p       the score of a step, in 0 to 1
t       its label, the share of rollouts that were right, or 0 or 1: as t trials of "+" and 1 - t of "-"
AUC     the probability that a "+" has a higher score than a "-", ties counting half (Mann and Whitney 1947)
Brier   mean of t (1 - p)^2 + (1 - t) p^2
ECE     mean over ten bins of equal width, by steps, of |mean p - mean t| (Guo et al., arXiv 1706.04599)
F1      harmonic mean of two shares: of wrong solutions whose first wrong step is the first with p below a
        threshold, and of right ones without such a step (ProcessBench, arXiv 2412.06559)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NUM_BINS = 10
THRESHOLDS = tuple(number / 100 for number in range(1, 100))
"""What the best threshold is chosen from."""
HALF = 0.5
NUM_RESAMPLES = 200


class Judged(NamedTuple):
    """A solution with the scores and the labels of its steps."""

    problem: str
    scores: tuple[float, ...]
    labels: tuple[float, ...]
    is_right: bool
    """Whether its last step is labelled as right."""


class Bin(NamedTuple):
    """Steps with scores in a tenth of the range."""

    num_steps: int
    mean_score: float
    mean_label: float


class FirstErrors(NamedTuple):
    """How well the first step below a threshold is the first wrong one; None where there is no such solution."""

    threshold: float
    wrong: float | None
    """Of wrong solutions, those whose first wrong step was found."""
    right: float | None
    """Of right solutions, those in which no step is below the threshold."""
    f1: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What is found for one kind of label; None where there are not both kinds of steps or solutions."""

    num_problems: int
    num_solutions: int
    num_steps: int
    share_right: float
    """Mean label."""
    step_auc: float | None
    step_auc_interval: tuple[float, float] | None
    """95%, by resampling problems."""
    last_auc: float | None
    """AUC of the last score between right and wrong solutions of the same problem, averaged over problems."""
    ece: float
    brier: float
    bins: tuple[Bin, ...]
    first_errors: FirstErrors | None
    """At 0.5; None where labels are shares."""
    best_first_errors: FirstErrors | None
    """At the threshold that is best on one half of the problems, found on the other half."""

    def to_json(self) -> Mapping[str, Any]:  # Any: JSON
        """Return the same ready for JSON."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("first_errors", "best_first_errors"):
            plain[name] = None if plain[name] is None else plain[name]._asdict()
        return {**plain, "bins": [each._asdict() for each in self.bins]}


def measure_quality(solutions: Sequence[Judged]) -> Quality:
    """Measure the scores of one solution or more."""
    scores, labels = (np.array([x for s in solutions for x in values(s)]) for values in (_scores, _labels))
    bins = reliability(scores, labels)
    is_judgement = bool(np.isin(labels, (0.0, 1.0)).all())
    return Quality(
        num_problems=len({solution.problem for solution in solutions}),
        num_solutions=len(solutions),
        num_steps=len(scores),
        share_right=float(labels.mean()),
        step_auc=auc(scores, labels),
        step_auc_interval=interval(solutions, _step_auc),
        last_auc=within_problem_auc(solutions),
        ece=sum(b.num_steps * abs(b.mean_score - b.mean_label) for b in bins) / len(scores),
        brier=float((labels * (1 - scores) ** 2 + (1 - labels) * scores**2).mean()),
        bins=tuple(bins),
        first_errors=first_errors(solutions, HALF) if is_judgement else None,
        best_first_errors=best_first_errors(solutions) if is_judgement else None,
    )


def auc(scores: Floats, labels: Floats) -> float | None:
    """Return the AUC; None unless there are both "+" and "-"."""
    _, place = np.unique(scores, return_inverse=True)
    plus, minus = (np.bincount(place, weights=weights) for weights in (labels, 1 - labels))
    if not plus.sum() * minus.sum() > 0:
        return None
    below = np.cumsum(minus) - minus
    return float((plus * (below + minus / 2)).sum() / (plus.sum() * minus.sum()))


def within_problem_auc(solutions: Sequence[Judged]) -> float | None:
    """Return the AUC of last scores between solutions of the same problem, averaged over problems that have both."""
    last: dict[str, list[tuple[float, float]]] = {}
    for solution in solutions:
        last.setdefault(solution.problem, []).append((solution.scores[-1], float(solution.is_right)))
    found = [auc(*np.array(pairs).T) for pairs in last.values()]
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if values else None


def reliability(scores: Floats, labels: Floats) -> list[Bin]:
    """Return the bins that have steps, from the lowest scores to the highest."""
    numbers = np.minimum((scores * NUM_BINS).astype(int), NUM_BINS - 1)
    groups = [numbers == number for number in range(NUM_BINS)]
    return [Bin(int(g.sum()), float(scores[g].mean()), float(labels[g].mean())) for g in groups if g.any()]


def first_errors(solutions: Sequence[Judged], threshold: float) -> FirstErrors:
    """Compare the first step below the threshold with the first wrong one."""
    found: dict[bool, list[bool]] = {True: [], False: []}
    for solution in solutions:
        expected = _first(solution.labels, HALF)
        found[expected is None].append(_first(solution.scores, threshold) == expected)
    wrong, right = (float(np.mean(found[kind])) if found[kind] else None for kind in (False, True))
    f1 = None if wrong is None or right is None else 2 * wrong * right / max(wrong + right, 1e-12)
    return FirstErrors(threshold, wrong, right, f1)


def best_first_errors(solutions: Sequence[Judged]) -> FirstErrors | None:
    """Choose the threshold on one half of the problems, and compare on the other; None if a half lacks a kind."""
    halves: tuple[list[Judged], list[Judged]] = ([], [])
    for solution in solutions:
        halves[hashlib.sha256(solution.problem.encode()).digest()[0] % 2].append(solution)
    tried = [first_errors(halves[0], threshold) for threshold in THRESHOLDS]
    if any(each.f1 is None for each in tried):
        return None
    best = max(tried, key=lambda each: each.f1 or 0.0)
    there = first_errors(halves[1], best.threshold)
    return None if there.f1 is None else there


def interval(
    solutions: Sequence[Judged], statistic: Callable[[Sequence[Judged]], float | None], seed: int = 0
) -> tuple[float, float] | None:
    """Return the middle 95% of a statistic over resamples of the problems; None if it cannot be told of most."""
    groups: dict[str, list[Judged]] = {}
    for solution in solutions:
        groups.setdefault(solution.problem, []).append(solution)
    members, random = list(groups.values()), np.random.default_rng(seed)
    values = []
    for _ in range(NUM_RESAMPLES):
        drawn = random.integers(len(members), size=len(members))
        value = statistic([solution for number in drawn for solution in members[number]])
        if value is not None:
            values.append(value)
    if len(values) < NUM_RESAMPLES / 2:
        return None
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _step_auc(solutions: Sequence[Judged]) -> float | None:
    return auc(*(np.array([x for s in solutions for x in values(s)]) for values in (_scores, _labels)))


def _scores(solution: Judged) -> tuple[float, ...]:
    return solution.scores


def _labels(solution: Judged) -> tuple[float, ...]:
    return solution.labels


def _first(values: Sequence[float], threshold: float) -> int | None:
    return next((number for number, value in enumerate(values) if value < threshold), None)
