"""Judge an answer against the gold answer, and number the classes of many answers.

A verdict comes from a cascade whose later stages never overrule an exact result of an earlier one: literal text, equal
keys, the rules of the policy, keys that differ; and only for two formulas that their keys could not decide, sympy, in
another process. What nothing decides is unknown: the verdict is None, and its reason begins with the kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from timetrial.record import Verdict
from timetrial_plugins.grading.calls import without_eq
from timetrial_plugins.grading.domain import agree_where_real
from timetrial_plugins.grading.equations import same_solutions
from timetrial_plugins.grading.expression import Node, parse
from timetrial_plugins.grading.formula import has_names, may_be_equal
from timetrial_plugins.grading.key import MEMO_SIZE, Reading, answer_class, read
from timetrial_plugins.grading.leniency import Gold, forgives
from timetrial_plugins.grading.notation import Unreadable, normalise, tokenize
from timetrial_plugins.grading.policy import Policy
from timetrial_plugins.grading.relation import chain, without_labels
from timetrial_plugins.grading.structure import Key, strip_group

__all__ = ["Grader", "answer_class", "cluster", "grade"]

_RIGHT = Verdict(correct=True)
_WRONG = Verdict(correct=False)
_DEFAULT = Policy()


class Grader:
    """The mathematical grader, as tasks offer it to the harness."""

    def __init__(self, policy: Policy = _DEFAULT) -> None:
        self._policy = policy

    @property
    def name(self) -> str:
        """Name and version; the version changes whenever a verdict or a class may change."""
        return "timetrial-math/2"

    @property
    def policy(self) -> Mapping[str, bool | int | None]:
        """What a gold answer forgives, ready for JSON: another policy gives other verdicts."""
        return self._policy.as_mapping()

    def answer_class(self, answer: str) -> str:
        """Return the canonical key of an answer: equal keys, equivalent answers (an equivalence relation)."""
        return answer_class(answer)

    def grade(self, gold: str, answer: str) -> Verdict:
        """Judge an answer against the gold answer."""
        return grade(gold, answer, policy=self._policy)


def cluster(answers: Iterable[str | None]) -> list[int]:
    """Return the class of each answer, numbered from 0 in order of appearance; -1 for None and for nothing."""
    numbers: dict[Key, int] = {}
    return [
        numbers.setdefault(read(answer).key, len(numbers)) if answer is not None and answer.strip() else -1
        for answer in answers
    ]


def grade(gold: str, answer: str, *, policy: Policy = _DEFAULT) -> Verdict:
    """Judge an answer against the gold answer: right, wrong, or None with the reason why that cannot be told."""
    return _grade(gold, answer, policy)


@lru_cache(maxsize=MEMO_SIZE)
def _grade(gold: str, answer: str, policy: Policy) -> Verdict:
    if not gold.strip():
        return Verdict(correct=None, reason="not understood: the gold answer is empty")
    if not answer.strip():
        return _WRONG
    expected, given = read(gold), read(answer)
    if gold.strip() == answer.strip() or expected.key == given.key:
        return _RIGHT
    if forgives(Gold(gold, expected.key), given.key, policy):
        return _RIGHT
    if expected.key[0] == given.key[0] == "eq":
        return _judge_equations(gold, answer)
    if are_different(expected.key, given.key):
        return _WRONG
    formulas = _formula(gold, expected.key), _formula(answer, given.key)
    for key, other in zip((given.key, expected.key), formulas, strict=True):
        if key[0] == "expr" and other is not None and not has_names(other.node):
            return _WRONG  # what depends on a name is no constant, however large
    if formulas[0] is None or formulas[1] is None:
        return _unknown(expected, given)
    return _judge_formulas(formulas[0], formulas[1], policy)


_FORMULAS = frozenset(("n", "exact", "expr", "raw"))


class _Formula(NamedTuple):
    text: str
    key: Key
    node: Node


def _formula(text: str, key: Key) -> _Formula | None:
    """Return the formula that an answer is, without a label in front or an approximation behind; None if it is none.

    Whether it is one is told by its key, so that the members of a class are judged alike.
    """
    if key[0] == "q":
        return _Formula(key[1], key, ("number", Fraction(key[1])))
    if key[0] not in _FORMULAS:
        return None
    try:
        tokens = without_labels(tokenize(normalise(text)))
        tokens = tokens[: tokens.index(r"\approx")] if r"\approx" in tokens[1:] else tokens
        return _Formula(" ".join(tokens), key, parse(tokens))
    except Unreadable:
        return None


def _judge_formulas(gold: _Formula, answer: _Formula, policy: Policy) -> Verdict:
    """Judge two formulas that their keys could not decide."""
    if gold.key[0] == answer.key[0] == "expr":
        agree = agree_where_real(gold.node, answer.node)
        if agree is not None:
            return _RIGHT if agree and policy.domain else _WRONG
    # sympy is slow to import, and few pairs come this far
    from timetrial_plugins.grading.opinion import symbolic_verdict

    return symbolic_verdict(gold.text, answer.text, domain=policy.domain)


def _judge_equations(gold: str, answer: str) -> Verdict:
    """Judge two equations of which neither is a multiple of the other."""
    one, other = _difference(gold), _difference(answer)
    same = None if one is None or other is None else same_solutions(one, other)
    if same is None:
        return Verdict(correct=None, reason="undecided: equations whose solutions were not compared")
    return _RIGHT if same else _WRONG


def _difference(text: str) -> Node | None:
    """Return what is zero in an equation; None if it is not written as one."""
    parts, _ = chain(without_eq(strip_group(tokenize(normalise(text)))))
    if len(parts) != 2:
        return None
    left, right = (parse(part) for part in parts)
    return ("+", left, ("-", right))


def are_different(gold: Key, answer: Key) -> bool:
    """Whether two keys show that the answers differ.

    Formulas that agree for positive names need not differ, and what is not understood shows nothing.
    """
    if gold == answer or "raw" in (gold[0], answer[0]) or may_be_equal(gold, answer):
        return False
    if gold[0] == answer[0] == "expr":
        return bool(gold[1] != answer[1])
    if "rel" in (gold[0], answer[0]) and gold[0] != answer[0]:
        return False  # x^2 < 4, which was not solved, may be -2 < x < 2
    if gold[0] == answer[0] == "seq" and len(gold) == len(answer) and gold[1:3] == answer[1:3]:
        return any(are_different(one, other) for one, other in zip(gold[3:], answer[3:], strict=True))
    return True


def _unknown(expected: Reading, given: Reading) -> Verdict:
    if expected.problem is None and given.problem is None:
        return Verdict(correct=None, reason="undecided: neither equal nor different could be shown")
    side = "gold answer" if expected.problem else "answer"
    return Verdict(correct=None, reason=f"not understood: {side}: {expected.problem or given.problem}")
