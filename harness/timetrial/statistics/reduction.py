"""How the step scores of one completion become one score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

Reduction = Literal["last", "min", "prod", "mean"]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)


def reduce_scores(scores: Sequence[float], reduction: Reduction) -> float:
    """Return the last, smallest, product or mean of step scores.

    Raises:
        ValueError: there are no scores, or no such reduction.
    """
    if not scores:
        raise ValueError("a completion without step scores has no score")
    if reduction == "last":
        return float(scores[-1])
    if reduction == "min":
        return float(min(scores))
    if reduction == "prod":
        return math.prod(scores)
    if reduction == "mean":
        return math.fsum(scores) / len(scores)
    raise ValueError(f"unknown reduction {reduction!r}; expected one of {', '.join(REDUCTIONS)}")
