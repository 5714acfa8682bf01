"""What the seconds of a curve count: decoding alone, as in the paper, or the reward model's time as well.

A rule that takes no scores costs nothing beyond decoding, so its one curve counts everything. A rule that takes scores
has a second curve wherever the reward model's seconds are known: the same values, later.
"""

from __future__ import annotations

from collections.abc import Iterable

from timetrial.record import Accounting, Curve

GENERATION: Accounting = "generation"
WITH_VERIFIER: Accounting = "generation + verifier"


def counts_verifier(curve: Curve) -> bool | None:
    """Return whether the seconds hold the reward model's; None if the rule takes no scores."""
    return None if curve.reward_model is None else curve.accounting == WITH_VERIFIER


def charged(curves: Iterable[Curve]) -> list[Curve]:
    """Return one curve of each rule: where the reward model's seconds are known, the one that counts them."""
    curves = list(curves)
    known = {identity(curve) for curve in curves if curve.accounting == WITH_VERIFIER}
    return [curve for curve in curves if curve.accounting == WITH_VERIFIER or identity(curve) not in known]


def generated(curves: Iterable[Curve]) -> list[Curve]:
    """Return one curve of each rule, with the seconds of decoding alone: for whatever is not about seconds."""
    return [curve for curve in curves if curve.accounting == GENERATION]


def identity(curve: Curve) -> tuple[object, ...]:
    """Return what two curves share that differ in their accounting alone."""
    return (*curve.series, curve.rule, curve.reward_model, curve.reduction, curve.gamma)
