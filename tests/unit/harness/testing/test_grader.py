"""The fake grader keeps the contract of graders, and the contract catches graders that do not."""

from itertools import count

import pytest

from timetrial.record import Verdict
from timetrial.testing import FakeGrader, GraderContract

ANSWERS = ("7", "11", "011")
numbers = count()


class TestFakeGrader(GraderContract):
    @pytest.fixture
    def grader(self):
        return FakeGrader()


class TestFakeGraderOnEquivalentAnswers(GraderContract):
    @pytest.fixture
    def grader(self):
        return FakeGrader()

    @pytest.fixture
    def answers(self):
        return ANSWERS


class Faulty(FakeGrader):
    policy = {}

    def __init__(self, **instead):
        vars(self).update(instead)


def unknown(reason):
    return Faulty(grade=lambda gold, answer: Verdict(correct=None, reason=reason))


def fails(gold, answer):
    raise ValueError(f"cannot read {answer}")


VERDICTS = GraderContract.test_any_two_texts_get_a_verdict_with_a_reason_exactly_if_it_is_unknown

FAULTS = {
    "no name": (GraderContract.test_its_name_and_policy_can_be_recorded, Faulty(name=""), "name must be"),
    "a policy that JSON changes": (
        GraderContract.test_its_name_and_policy_can_be_recorded,
        Faulty(policy={"units": ("cm",)}),
        "survive JSON",
    ),
    "no policy": (
        GraderContract.test_its_name_and_policy_can_be_recorded,
        type("Bare", (), {"name": "bare/1", "answer_class": str, "grade": Verdict})(),
        "lacks a member",
    ),
    "gold that is wrong": (
        GraderContract.test_an_answer_is_right_if_it_is_the_gold_answer,
        Faulty(grade=lambda gold, answer: Verdict(correct=False)),
        "gold '7' graded against itself",
    ),
    "garbage that is right": (
        GraderContract.test_nonsense_is_not_correct,
        Faulty(grade=lambda gold, answer: Verdict(correct=True)),
        "was graded correct",
    ),
    "doubt without a reason": (VERDICTS, unknown(None), "no reason why"),
    "a reason without a kind": (VERDICTS, unknown("too hard"), "<kind>: <detail>"),
    "a reason without a detail": (VERDICTS, unknown("too hard: "), "<kind>: <detail>"),
    "a kind that quotes the answer": (VERDICTS, unknown(f"{'x' * 50} is odd: very"), "<kind>: <detail>"),
    "a reason for a verdict": (
        VERDICTS,
        Faulty(grade=lambda gold, answer: Verdict(correct=False, reason="wrong: other digits")),
        "a reason for none",
    ),
    "no verdict at all": (VERDICTS, Faulty(grade=lambda gold, answer: gold == answer), "must return a Verdict"),
    "classes that are no text": (
        GraderContract.test_an_answer_class_is_one_key_per_answer,
        Faulty(answer_class=len),
        "must return a str",
    ),
    "classes that change": (
        GraderContract.test_an_answer_class_is_one_key_per_answer,
        Faulty(answer_class=lambda answer: str(next(numbers))),
        "not equivalent to itself",
    ),
    "classes numbered as they come": (
        GraderContract.test_an_answer_class_does_not_depend_on_the_answers_before,
        Faulty(answer_class=lambda answer: f"{answer}/{next(numbers)}"),
        "after other answers",
    ),
    "classes coarser than grades": (
        GraderContract.test_answers_of_one_class_are_right_for_each_other,
        Faulty(answer_class=lambda answer: "same", grade=lambda gold, answer: Verdict(correct=gold == answer)),
        "of one class, but graded",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_catches(fault):
    check, grader, message = FAULTS[fault]
    arguments = () if check is GraderContract.test_its_name_and_policy_can_be_recorded else (ANSWERS,)
    with pytest.raises(AssertionError, match=message):
        check(GraderContract(), grader, *arguments)


def test_the_contract_lets_nothing_pass_that_raises():
    with pytest.raises(ValueError, match="cannot read"):
        VERDICTS(GraderContract(), Faulty(grade=fails), ANSWERS)
