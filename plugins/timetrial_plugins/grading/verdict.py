"""Judge an answer against the gold answer, and number the classes of many answers.

THE POLICY. Answers with equal keys (`key.py`) are equal. Beyond that a gold answer forgives, and each rule below
says what. Rules are tried only where the keys differ; none overrules an exact difference that it is not about.

    unit         a unit or percent sign on one side only (15 for 15 cm^2); two different units differ
    percent      28 % and 0.28 are equal, 28 % and 28 too; 28 and 0.28 are not
    precision    a decimal of at least 4 significant digits equals an exact value that rounds to it
    comma        1000,99 for 1000.99, if the gold answer is no list
    label        y = 2x + 3 for 2x + 3, and the other way round; names of listed values (x = 1, y = 2 for 1, 2)
    brackets     a bare list for a tuple in the same order; a column for a tuple

Order counts in tuples, and does not in lists of solutions. Brackets of intervals count. Text is compared without
regard to case. log is the decimal logarithm. +- gives both values. Tolerances are relative, never absolute.

An answer that is not understood, and is not literally the gold answer, is neither right nor wrong: the verdict is
None with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable

from timetrial.record import Verdict
from timetrial_plugins.grading.key import read
from timetrial_plugins.grading.leniency import RULES

__all__ = ["Grader", "answer_class", "cluster", "grade"]


class Grader:
    """The mathematical grader, as tasks offer it to the harness."""

    @property
    def name(self) -> str:
        """Name and version; the version changes whenever a verdict or a class may change."""
        return "timetrial-math/1"

    def answer_class(self, answer: str) -> str:
        """Return the canonical key of an answer: equal keys, equivalent answers (an equivalence relation)."""
        return answer_class(answer)

    def grade(self, gold: str, answer: str) -> Verdict:
        """Judge an answer against the gold answer."""
        return grade(gold, answer)


def answer_class(answer: str) -> str:
    """Return the canonical key of an answer as text: equal texts, equivalent answers."""
    return read(answer).text


def cluster(answers: Iterable[str | None]) -> list[int]:
    """Return the class of each answer, numbered from 0 in order of appearance; -1 for None and for nothing."""
    numbers: dict[object, int] = {}
    return [
        numbers.setdefault(read(answer).key, len(numbers)) if answer is not None and answer.strip() else -1
        for answer in answers
    ]


def grade(gold: str, answer: str) -> Verdict:
    """Judge an answer against the gold answer: right, wrong, or None with the reason why that cannot be told."""
    if not gold.strip():
        return Verdict(correct=None, reason="the gold answer is empty")
    if not answer.strip():
        return Verdict(correct=False)
    if gold.strip() == answer.strip():
        return Verdict(correct=True)
    expected, given = read(gold), read(answer)
    if expected.key == given.key or any(rule(gold, expected.key, answer, given.key) for rule in RULES):
        return Verdict(correct=True)
    if expected.problem or given.problem:
        side = "gold answer" if expected.problem else "answer"
        return Verdict(correct=None, reason=f"{side} not understood: {expected.problem or given.problem}")
    if "symbolic" in (expected.key[0], given.key[0]):
        return Verdict(correct=None, reason="a number beyond the bounds of comparison")
    if expected.key[0] == given.key[0] == "expr" and expected.key[1] == given.key[1]:
        return Verdict(correct=None, reason="equal for positive values of the names only")
    return Verdict(correct=False)
