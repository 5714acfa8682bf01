"""What ablation.json holds: how accuracy depends on what becomes of a reward model's scores.

Intervals are 95 % percentile intervals over replicates that draw problems. docs/verifier-time.md explains.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationPoint:
    """The accuracy of one rule on the samples of one series, at one k."""

    model: str
    task: str
    temperature: float
    reward_model: str
    rule: str
    """weighted, best-of-n, majority or coverage."""
    reduction: str | None
    """None for majority and coverage, which take no scores."""
    gamma: float | None
    """Of weighted: the power of the scores; None, as for the other rules, in the limit of large powers, where only the
    largest score counts."""
    k: int
    value: float
    low: float
    high: float
    monte_carlo_error: float
    """0 if exact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreQuality:
    """How well reduced scores tell right answers from wrong ones, and how far they follow the length."""

    model: str
    task: str
    temperature: float
    reward_model: str
    reduction: str
    auc: float | None
    """The chance that a right sample is scored above a wrong one of its problem, the mean over problems that have both;
    None if none has."""
    auc_low: float | None
    auc_high: float | None
    num_problems: int
    """Those with right and wrong samples."""
    length_correlation: float | None
    """Of score and length over all samples with an answer; None if one of the two does not vary."""
    within_length_correlation: float | None
    """The same once each problem's means are taken off."""
    length_unit: str
    """tokens, or characters if a completion's tokens are not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """The content of ablation.json."""

    num_samples: int
    ks: tuple[int, ...]
    replicates: int
    permutations: int
    """Random permutations per problem behind weighted, except at k = 1 and k = N."""
    seed: int
    points: tuple[AblationPoint, ...]
    scores: tuple[ScoreQuality, ...]


def ablation_to_json(ablation: Ablation) -> dict[str, Any]:
    """Turn an ablation into a JSON-ready dict."""
    return dataclasses.asdict(ablation)
