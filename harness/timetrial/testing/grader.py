"""The contract of graders: classes that are an equivalence, verdicts for any text, and doubt that has a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from timetrial.protocol import Grader
from timetrial.record import Verdict

# Texts that models do write, and some that break regular expressions, parsers, number types and encoders.
GARBAGE = (
    "",
    " \n\t ",
    "I do not know.",
    "The final answer is",
    "The final answer is $\\boxed{",
    "\\boxed{}",
    "\\boxed{{{{{{}",
    "}}}}\\boxed",
    "\\frac{1}{0}",
    "$$$$ \\text{ \\sqrt[ \\left(",
    "1/0 + 0^-1 = 9^9^9^9^9",
    "10000000! / \\binom{10^9}{5 \\cdot 10^8}",
    "1e999999999",
    "((((((((((((((((((((((((((((((((((((((((",
    "\\frac{" * 1000,
    "\x00\x01 \ufffd \U0001f4a5 \u202e",
    "\ud800 half of a pair",
    "__import__('os')",
    "1," * 2000,
    "9" * 5000,
    "x" * 20_000,
)
_MAX_KIND = 40


class GraderContract:
    """Override `grader`, and `answers` if it does not understand whole numbers."""

    @pytest.fixture
    def grader(self) -> Grader:
        """Return the grader under test."""
        raise NotImplementedError("override the fixture `grader`")

    @pytest.fixture
    def answers(self) -> Sequence[str]:
        """Return answers that the grader understands, not all of them equivalent."""
        return ("0", "7", "11", "12", "250", "1000")

    def test_its_name_and_policy_can_be_recorded(self, grader: Grader) -> None:
        """A grader has the protocol's members, a name, and a policy that is JSON."""
        assert isinstance(grader, Grader), f"{type(grader).__name__} lacks a member of timetrial.Grader"
        assert isinstance(grader.name, str) and grader.name, "the grader's name must be a non-empty str"
        policy = dict(grader.policy)
        assert json.loads(json.dumps(policy)) == policy, "policy must survive JSON unchanged"

    def test_an_answer_is_right_if_it_is_the_gold_answer(self, grader: Grader, answers: Sequence[str]) -> None:
        """Every answer it understands equals itself."""
        for answer in answers:
            verdict = grader.grade(answer, answer)
            assert verdict.correct is True, f"gold {answer!r} graded against itself: {verdict}"

    def test_nonsense_is_not_correct(self, grader: Grader, answers: Sequence[str]) -> None:
        """A grader is not fooled by garbage."""
        for answer in GARBAGE:
            verdict = grader.grade(answers[0], answer)
            assert verdict.correct is not True, f"{answer[:40]!r} was graded correct against {answers[0]!r}"

    def test_any_two_texts_get_a_verdict_with_a_reason_exactly_if_it_is_unknown(
        self, grader: Grader, answers: Sequence[str]
    ) -> None:
        """`grade` never raises; a reason reads "<kind>: <detail>", its kind short and on one line."""
        for gold, answer in _pairs(answers):
            shown = f"{answer[:40]!r} against {gold[:40]!r}"
            verdict = grader.grade(gold, answer)
            assert isinstance(verdict, Verdict), f"grade must return a Verdict, not {verdict!r}"
            if verdict.correct is not None:
                assert verdict.reason is None, f"{shown} has a verdict, and a reason for none: {verdict.reason!r}"
                continue
            assert verdict.reason, f"no reason why {shown} has no verdict"
            kind, colon, detail = verdict.reason.partition(":")
            is_kind = kind.strip() and len(kind) <= _MAX_KIND and "\n" not in kind
            assert is_kind and colon and detail.strip(), f"a reason reads '<kind>: <detail>', not {verdict.reason!r}"

    def test_an_answer_class_is_one_key_per_answer(self, grader: Grader, answers: Sequence[str]) -> None:
        """Answer classes are strings, and the same for the same answer: the relation is reflexive."""
        for answer in (*answers, *GARBAGE):
            key = grader.answer_class(answer)
            assert isinstance(key, str), f"answer_class must return a str, not {key!r}"
            assert grader.answer_class(answer) == key, f"{answer[:40]!r} is not equivalent to itself"

    def test_an_answer_class_does_not_depend_on_the_answers_before(
        self, grader: Grader, answers: Sequence[str]
    ) -> None:
        """Keys are stored with the run and compared with those of later samples, so a grader keeps no memory."""
        forth = [grader.answer_class(answer) for answer in answers]
        back = [grader.answer_class(answer) for answer in reversed(answers)][::-1]
        for answer, first, second in zip(answers, forth, back, strict=True):
            assert first == second, f"{answer!r} has class {first!r}, but {second!r} after other answers"

    def test_answers_of_one_class_are_right_for_each_other(self, grader: Grader, answers: Sequence[str]) -> None:
        """One answer per class is graded, so all members of a class must get its verdict, whichever is the gold."""
        by_class: dict[str, set[str]] = {}
        for answer in answers:
            by_class.setdefault(grader.answer_class(answer), set()).add(answer)
        for same in by_class.values():
            for gold in same:
                for answer in same:
                    verdict = grader.grade(gold, answer)
                    assert verdict.correct is True, f"{answer!r} and {gold!r} are of one class, but graded {verdict}"


def _pairs(answers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield neighbours in both directions, and each garbage as answer and as gold."""
    for gold, answer in zip(answers, [*answers[1:], answers[0]], strict=True):
        yield gold, answer
        yield answer, gold
    for text in GARBAGE:
        yield answers[0], text
        yield text, answers[0]
