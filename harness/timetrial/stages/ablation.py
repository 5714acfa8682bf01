"""Try every reduction and power of the scores that a run holds, without scoring again.

P problems, N samples per problem, K values of k.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from timetrial.ablation import Ablation, AblationPoint, ScoreQuality
from timetrial.error import RunError, UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial.stages.reduced_pools import Lengths, ReducedPool, collect_sample_lengths, reduced_pools
from timetrial.statistics.best_of import best_of_k
from timetrial.statistics.bootstrap import bootstrap_mean, bootstrap_weights
from timetrial.statistics.coverage import pass_at_k
from timetrial.statistics.majority import majority_at_k
from timetrial.statistics.monte_carlo import DEFAULT_PERMUTATIONS, Estimate
from timetrial.statistics.ranking import correlation, within_problem_auc, within_problem_correlation
from timetrial.statistics.reduction import REDUCTIONS, Reduction
from timetrial.statistics.table import FloatArray, VoteTable
from timetrial.statistics.weighted import weighted_at_k
from timetrial.store import RunFolder

GAMMAS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, math.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationSettings:
    """What to try, and how precisely."""

    ks: tuple[int, ...]
    gammas: tuple[float, ...] = GAMMAS
    """Powers of the scores; infinity is the limit in which only the largest counts."""
    replicates: int = 2_000
    permutations: int = DEFAULT_PERMUTATIONS
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be tried.

        Raises:
            UsageError: a k is below 1, or a power negative or no number.
        """
        if not self.ks or min(self.ks) < 1:
            raise UsageError(f"k is {min(self.ks, default='not given')}: expected at least 1 sample")
        for gamma in self.gammas:
            if not gamma >= 0:
                raise UsageError(f"gamma is {gamma}: expected 0 (a majority vote) or more, or inf")


def default_ks(samples: int) -> tuple[int, ...]:
    """Return the powers of two from a quarter of the samples up to all of them."""
    return tuple(2**power for power in range(samples.bit_length()) if samples / 4 <= 2**power <= samples)


def ablate(
    folder: RunFolder, num_samples: int, settings: AblationSettings, progress: ProgressFactory = silent
) -> Ablation:
    """Return what every reduction and power of the scores is worth at the chosen k, and how good the scores are.

    Raises:
        RunError: no reward model has scored the run.
        UsageError: a k is above the samples there are, or scores are negative and have no powers.
    """
    if max(settings.ks) > num_samples:
        raise UsageError(f"k is {max(settings.ks)}, and there are {num_samples} samples of each problem")
    pools = reduced_pools(folder, num_samples)
    if not pools:
        raise RunError(
            f"{folder.path} holds no problem about whose every answer a reward model was asked: `timetrial score` "
            "scores a run"
        )
    lengths = collect_sample_lengths(folder, num_samples)
    points: list[AblationPoint] = []
    scores: list[ScoreQuality] = []
    with progress("ablation", len(pools) * len(REDUCTIONS)) as advance:
        for pool in pools:
            work = _Work(pool=pool, settings=settings, weights=_weights(pool, settings))
            points += work.references()
            for reduction in REDUCTIONS:
                points += work.powers(reduction)
                scores.append(work.quality(reduction, lengths[pool.series]))
                advance(1)
    return Ablation(
        num_samples=num_samples,
        ks=settings.ks,
        replicates=settings.replicates,
        permutations=settings.permutations,
        seed=settings.seed,
        points=tuple(points),
        scores=tuple(scores),
    )


def _weights(pool: ReducedPool, settings: AblationSettings) -> FloatArray:
    return bootstrap_weights(len(pool.votes.problems), settings.replicates, settings.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """One series and reward model, and the problem weights of its replicates."""

    pool: ReducedPool
    settings: AblationSettings
    weights: FloatArray
    """(B, P)"""

    def references(self) -> Iterator[AblationPoint]:
        """Yield what needs no scores: majority, and the coverage that a perfect verifier would reach."""
        ks = self.settings.ks
        for rule, estimate in (("majority", majority_at_k), ("coverage", pass_at_k)):
            yield from self._points(_Rule(rule), _exact(estimate(self.pool.votes, ks)))

    def powers(self, reduction: Reduction) -> Iterator[AblationPoint]:
        """Yield the weighted vote at every power, and Best-of-N."""
        table, settings = self.pool.tables[reduction], self.settings
        lowest = table.require_scores().min()
        if lowest < 0:
            raise UsageError(
                f"{self.pool.reward_model} gave the score {lowest:g} ({reduction}): negative scores have no powers, so "
                "there is nothing to compare"
            )
        for gamma in settings.gammas:
            made = _weighted(table, gamma, settings)
            yield from self._points(_Rule("weighted", reduction, None if math.isinf(gamma) else gamma), made)
        yield from self._points(_Rule("best-of-n", reduction), _exact(best_of_k(table, settings.ks)))

    def quality(self, reduction: Reduction, lengths: Lengths) -> ScoreQuality:
        """Return how well the scores tell right answers from wrong ones, and how far they follow the length."""
        table = self.pool.tables[reduction]
        areas = within_problem_auc(table)
        known = np.flatnonzero(~np.isnan(areas))
        interval = None
        if len(known):
            weights = bootstrap_weights(len(known), self.settings.replicates, self.settings.seed)
            interval = bootstrap_mean(areas[known, None], weights)
        texts = np.stack([lengths.problems[problem] for problem in table.problems])
        scores, chosen = table.require_scores(), (table.classes >= 0) & ~np.isnan(texts)
        return ScoreQuality(
            **self.pool.series._asdict(),
            reward_model=self.pool.reward_model,
            reduction=reduction,
            auc=float(interval.mean[0]) if interval else None,
            auc_low=float(interval.low[0]) if interval else None,
            auc_high=float(interval.high[0]) if interval else None,
            num_problems=len(known),
            length_correlation=correlation(scores, texts, chosen),
            within_length_correlation=within_problem_correlation(scores, texts, chosen),
            length_unit=lengths.unit,
        )

    def _points(self, rule: _Rule, estimate: Estimate) -> Iterator[AblationPoint]:
        interval = bootstrap_mean(estimate.values, self.weights)
        for place, k in enumerate(self.settings.ks):
            yield AblationPoint(
                **self.pool.series._asdict(),
                reward_model=self.pool.reward_model,
                rule=rule.name,
                reduction=rule.reduction,
                gamma=rule.gamma,
                k=k,
                value=float(interval.mean[place]),
                low=float(interval.low[place]),
                high=float(interval.high[place]),
                monte_carlo_error=float(estimate.monte_carlo_errors[place]),
            )


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    reduction: Reduction | None = None
    gamma: float | None = None


def _weighted(table: VoteTable, gamma: float, settings: AblationSettings) -> Estimate:
    if gamma == 0:
        return _exact(majority_at_k(replace(table, scores=None), settings.ks))
    return weighted_at_k(table, settings.ks, gamma=gamma, permutations=settings.permutations, seed=settings.seed)


def _exact(values: FloatArray) -> Estimate:
    return Estimate(values, np.zeros(values.shape[1]))
