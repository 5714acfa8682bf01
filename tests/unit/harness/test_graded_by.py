"""Who graded a run, as recorded: other graders, versions, policies and choices are refused with what to do."""

from pathlib import Path

import pytest

from timetrial.config import RunConfig
from timetrial.error import ConfigMismatchError
from timetrial.graded_by import check_graders, different_graders, graders_label, recorded_graders
from timetrial.stages.judge import Graders
from timetrial.testing import FakeGrader


class Other(FakeGrader):
    name = "other/3"


RECORDED = {"repeat": {"version": "1", "grading": Graders(grader=FakeGrader()).facts()}}
PLAIN = RunConfig(models=("m",), tasks=("repeat",), samples=1)
SECOND = RunConfig(models=("m",), tasks=("repeat",), samples=1, second_opinion="other")


def refusal(graders, recorded=PLAIN, asked=PLAIN, tasks=RECORDED):
    with pytest.raises(ConfigMismatchError) as caught:
        check_graders(Path("results/mine"), tasks, recorded, asked, {"repeat": graders})
    return str(caught.value)


def test_the_same_graders_pass_and_tasks_that_are_new_do_too():
    check_graders(Path("r"), RECORDED, PLAIN, PLAIN, {"repeat": Graders(grader=FakeGrader())})
    check_graders(Path("r"), RECORDED, PLAIN, PLAIN, {"new": Graders(grader=Other())})


def test_another_version_says_by_whom_the_run_is_graded_who_is_installed_and_what_to_run():
    said = refusal(Graders(grader=Other()))
    assert "graded by fake-integer/1, installed is other/3" in said
    assert "`timetrial grade results/mine`" in said


def test_another_policy_names_the_rules_that_differ():
    class Strict(FakeGrader):
        policy = {"leading_zeros": "count", "sign": "counts"}

    assert "under another policy than is installed: leading_zeros, sign" in refusal(Graders(grader=Strict()))


def test_another_choice_of_graders_gives_the_flags_that_make_it():
    both = Graders(grader=FakeGrader(), second_opinion=Other())
    said = refusal(both, asked=SECOND)
    assert "graded by fake-integer/1, installed is fake-integer/1, second opinions by other/3" in said
    assert "`timetrial grade results/mine --second-opinion other`" in said
    tasks = {"repeat": {"grading": both.facts()}}
    said = refusal(Graders(grader=FakeGrader()), recorded=SECOND, tasks=tasks)
    assert "`timetrial grade results/mine --second-opinion none`" in said
    instead = RunConfig(models=("m",), tasks=("repeat",), samples=1, grader="other")
    assert "--grader own`" in refusal(Graders(grader=FakeGrader()), recorded=instead, tasks=tasks)


def test_a_run_that_recorded_only_the_name_of_its_grader_is_graded_anew_too():
    facts = {"version": "1", "grader": "fake-integer/1"}
    assert recorded_graders(facts) == {"grader": "fake-integer/1"}
    assert graders_label(recorded_graders(facts)) == "fake-integer/1"
    assert "another policy" in refusal(Graders(grader=FakeGrader()), tasks={"repeat": facts})
    assert recorded_graders({"version": "1"}) == {}


def test_runs_whose_common_tasks_were_graded_differently_are_told():
    other = {"repeat": {"grading": Graders(grader=Other()).facts()}, "alone": {"grading": {"grader": "x/1"}}}
    (line,) = different_graders({"a": RECORDED, "b": RECORDED, "c": other})
    assert "task repeat is graded by fake-integer/1 in b and by other/3 in c" in line
    assert different_graders({"a": RECORDED, "b": RECORDED, "counts": {}}) == []
