"""Offer math-verify as a grader: in worker processes that can be killed, and with doubts where it is known to err."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from timetrial.error import UsageError
from timetrial.record import Verdict
from timetrial_plugins.grading.notation import MAX_CHARACTERS
from timetrial_plugins.grading.opinion import verdict, workers
from timetrial_plugins.grading.vetoes import RULES

WRAPPER_VERSION = "1"
"""Changes whenever a verdict may change with the same version of math-verify."""
JUDGE = "timetrial_plugins.grading.math_verify_judge:judge"
OPTIONS = {"float_rounding": 6, "numeric_precision": 15, "strict": True, "allow_set_relation_comp": False}
"""Of its function `verify`: the defaults of its version 0.9."""
SMALL_NUMBERS = "the digits of a small number"
"""What its rounding to so many decimals may overlook."""


def load() -> MathVerifyGrader:
    """Make the grader.

    Raises:
        UsageError: math-verify is not installed.
    """
    try:
        return MathVerifyGrader(version("math-verify"))
    except PackageNotFoundError:
        raise UsageError(
            "the grader 'math-verify' needs the package math-verify, which is not installed: "
            "`pip install 'timetrial[math-verify]'` installs it."
        ) from None


class MathVerifyGrader:
    """math-verify, asked in both directions and not believed where it is known to call different answers equal."""

    def __init__(self, installed: str) -> None:
        """Take the version of math-verify that is installed."""
        self._installed = installed

    @property
    def name(self) -> str:
        """The versions of math-verify and of what is around it here."""
        return f"math-verify/{self._installed}+timetrial-{WRAPPER_VERSION}"

    @property
    def policy(self) -> Mapping[str, Any]:  # Any: JSON values
        """How math-verify is asked, and where its "equal" becomes unknown. 10, 10 % and 0.1 are as it says."""
        limits = workers(JUDGE).limits
        return {
            "answer_class": "timetrial",
            "reads": "a formula between dollars",
            "max_characters": MAX_CHARACTERS,
            "verify": dict(OPTIONS),
            "directions": "both, unknown if they differ",
            "unknown_for": [*RULES, SMALL_NUMBERS],
            "time_limit_s": limits.time_s,
            "memory_limit": limits.memory,
        }

    def answer_class(self, answer: str) -> str:
        """Return timetrial's own canonical key: math-verify's relation has no classes."""
        from timetrial_plugins.grading.verdict import answer_class

        return answer_class(answer)

    def grade(self, gold: str, answer: str) -> Verdict:
        """Judge an answer against the gold answer."""
        if not gold.strip():
            return Verdict(correct=None, reason="not understood: the gold answer is empty")
        if not answer.strip():
            return Verdict(correct=False)
        if gold.strip() == answer.strip():
            return Verdict(correct=True)
        return verdict(workers(JUDGE).ask(gold, answer))
