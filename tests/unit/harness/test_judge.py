"""Asking graders: second opinions only in doubt, whose verdict it is, and graders that fail."""

import pytest

from timetrial.error import PluginError
from timetrial.record import Grade, Verdict
from timetrial.stages.judge import Graders
from timetrial.testing import FakeGrader


class Says(FakeGrader):
    """Says the same of every answer, or raises it; counts how often it is asked."""

    def __init__(self, name, verdict):
        self.name, self.verdict, self.num_asked = name, verdict, 0

    def grade(self, gold, answer):
        self.num_asked += 1
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


RIGHT = Verdict(correct=True)
WRONG = Verdict(correct=False)
UNKNOWN = Verdict(correct=None, reason="undecided: too hard")


@pytest.mark.parametrize("verdict", [RIGHT, WRONG])
def test_a_second_opinion_is_not_asked_where_the_first_can_tell(verdict):
    first, second = Says("first/1", verdict), Says("second/1", RIGHT)
    assert Graders(grader=first, second_opinion=second).judge("1", "2") == (verdict, "first/1")
    assert (first.num_asked, second.num_asked) == (1, 0)


@pytest.mark.parametrize("verdict", [RIGHT, WRONG])
def test_a_verdict_in_doubt_is_the_second_opinion_under_its_name(verdict):
    graders = Graders(grader=Says("first/1", UNKNOWN), second_opinion=Says("second/1", verdict))
    assert graders.judge("1", "2") == (verdict, "second/1")


def test_doubt_stays_the_first_graders_if_the_second_cannot_tell_either():
    second = Says("second/1", Verdict(correct=None, reason="timed out: after 2 s"))
    verdict, grader = Graders(grader=Says("first/1", UNKNOWN), second_opinion=second).judge("1", "2")
    assert (verdict.correct, grader) == (None, "first/1")
    assert verdict.reason == "undecided: too hard; second/1: timed out: after 2 s"


def test_without_a_second_opinion_doubt_is_left_as_it_is():
    assert Graders(grader=Says("first/1", UNKNOWN)).judge("1", "2") == (UNKNOWN, "first/1")


def test_a_grader_that_raises_is_doubt_with_the_cause_cut_short_and_the_second_is_asked():
    broken = Says("first/1", ZeroDivisionError("x" * 10_000))
    verdict, _ = Graders(grader=broken).judge("1", "2")
    assert verdict.correct is None and verdict.reason.startswith("grading failed: ZeroDivisionError('xxx")
    assert len(verdict.reason) < 300
    assert Graders(grader=broken, second_opinion=Says("second/1", WRONG)).judge("1", "2") == (WRONG, "second/1")


def test_a_second_opinion_that_raises_is_told_beside_the_first_reason():
    graders = Graders(grader=Says("first/1", UNKNOWN), second_opinion=Says("second/1", KeyError("oops")))
    verdict, _ = graders.judge("1", "2")
    assert verdict.reason == "undecided: too hard; second/1: grading failed: KeyError('oops')"


def test_names_and_policies_are_what_a_run_records():
    assert Graders(grader=FakeGrader()).facts() == {
        "grader": "fake-integer/1",
        "policy": {"leading_zeros": "do not count"},
        "second_opinion": None,
    }
    assert Graders(grader=FakeGrader(), second_opinion=Says("second/1", RIGHT)).facts()["second_opinion"] == {
        "grader": "second/1",
        "policy": {"leading_zeros": "do not count"},
    }


def test_what_is_no_grader_is_refused_before_anything_is_graded():
    class Old:
        name = "old/1"

        def answer_class(self, answer):
            return answer

    for graders in ({"grader": Old()}, {"grader": FakeGrader(), "second_opinion": Old()}):
        with pytest.raises(PluginError, match="Old is no grader: it lacks policy, grade"):
            Graders(**graders)


@pytest.mark.parametrize(
    ("reason", "kind"), [(None, None), ("cut: at the limit", "cut"), ("timed out", "timed out"), ("a: b: c", "a")]
)
def test_the_kind_of_a_reason_stands_before_the_first_colon(reason, kind):
    key = dict(model="m", task="t", temperature=1.0, problem="p", sample=0)
    grade = Grade(**key, answer="1", answer_class="1", correct=None, grader="g/1", reason=reason)
    assert grade.kind == kind
