"""Ask sympy, in a worker process, about two formulas that their keys could not tell apart or together."""

from __future__ import annotations

from functools import cache

from timetrial.record import Verdict
from timetrial_plugins.grading.process import Outcome
from timetrial_plugins.grading.worker import WorkerPool

SYMBOLIC = "timetrial_plugins.grading.symbolic:judge"


def symbolic_verdict(gold: str, answer: str, *, domain: bool = True) -> Verdict:
    """Judge two answers that are formulas. A question that takes too long or too much is answered by a reason.

    With `domain`, formulas that are equal for positive names are equal if they are so wherever both are real.
    """
    return verdict(workers(SYMBOLIC).ask(gold, answer, domain))


@cache
def workers(function: str) -> WorkerPool:
    """Return this process's workers for a function, written module:name; none runs before it is asked."""
    return WorkerPool(function)


def verdict(outcome: Outcome) -> Verdict:
    """Return the verdict that a worker's function gave as {"correct": ..., "reason": ...}, or why there is none."""
    if outcome.ending == "answered":
        return Verdict(correct=outcome.value["correct"], reason=outcome.value["reason"])
    kind = outcome.ending if outcome.ending in ("timed out", "out of memory") else "grading failed"
    return Verdict(correct=None, reason=f"{kind}: {outcome.detail}")
