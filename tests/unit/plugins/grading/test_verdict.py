"""The grader as the harness sees it: name, policy, classes, verdicts, threads."""

from __future__ import annotations

import dataclasses
import json
import threading

import pytest

from timetrial_plugins.grading import Grader, Policy, answer_class, cluster, grade, key
from timetrial_plugins.grading.key import read

RULES = {
    "unit": ("15", r"15 \text{ cm}^2"),
    "percent": ("0.28", r"28\%"),
    "significant_digits": (r"\sqrt{17}", "4.1231"),
    "decimal_comma": ("1,22", "1.22"),
    "label": ("2x+3", "y=2x+3"),
    "letters": ("ab", "b a"),
    "repeats": ("(1,2),(3,4)", "(1,2),(3,4),(1,2)"),
    "vectors": ("(1,2)", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    "choice": ("B", "(B) 5"),
    "ratio": ("3/4", "3:4"),
    "clock": ("12:00", "12:00 p.m."),
    "domain": (r"2\ln x", r"\ln x^2"),
}
OFF = {"significant_digits": None}
MIXED = ["0.5", r"\frac12", "x+1", "(1,2)", "1,2", r"\text{east}", "5 cm", "204_5", r"9^{9^9}", "))((", "x<3"]


def test_the_grader_says_which_one_it_is() -> None:
    grader = Grader()
    assert grader.name == "timetrial-math/2"
    assert grader.answer_class("0.5") == "1/2"
    assert grader.grade("0.5", "1/2").correct is True


def test_every_rule_of_the_policy_is_tested_here() -> None:
    assert RULES.keys() == {field.name for field in dataclasses.fields(Policy)}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_forgives_only_while_it_is_on(rule: str) -> None:
    gold, answer = RULES[rule]
    without = Policy(**{rule: OFF.get(rule, False)})
    assert grade(gold, answer).correct is True
    assert grade(gold, answer, policy=without).correct is not True
    assert Grader(without).grade(gold, answer).correct is not True
    assert Grader(without).grade(gold, gold).correct is True


@pytest.mark.parametrize("rule", RULES)
def test_the_policy_is_ready_for_json_and_another_policy_is_recorded_as_another(rule: str) -> None:
    recorded = Grader().policy
    assert json.loads(json.dumps(recorded)) == recorded
    assert recorded.keys() == RULES.keys()
    changed = Grader(Policy(**{rule: OFF.get(rule, False)})).policy
    assert {name for name in recorded if recorded[name] != changed[name]} == {rule}


def test_the_digits_that_count_may_be_set() -> None:
    assert grade("1/3", "0.33").correct is False
    assert grade("1/3", "0.33", policy=Policy(significant_digits=2)).correct is True
    assert grade("1/3", "0.34", policy=Policy(significant_digits=2)).correct is False


def test_the_policy_does_not_change_classes() -> None:
    strict = Grader(Policy(**{rule: OFF.get(rule, False) for rule in RULES}))
    assert [strict.answer_class(text) for text in MIXED] == [Grader().answer_class(text) for text in MIXED]


def test_nothing_is_no_answer_and_equals_nothing() -> None:
    assert grade("5", "").correct is False
    assert grade("5", "  ").correct is False
    for answer in ("5", "", " "):
        verdict = grade("", answer)
        assert verdict.correct is None
        assert verdict.reason == "not understood: the gold answer is empty"


def test_cluster_leaves_out_what_is_no_answer() -> None:
    assert cluster(["1/2", None, "0.5", "", "2", " "]) == [0, -1, 0, -1, 1, -1]
    assert cluster([]) == []


def test_a_key_is_hashable_and_its_class_is_its_text() -> None:
    assert key("0.5") == key(r"\frac12") == ("q", "1/2")
    keys = {key(text): answer_class(text) for text in MIXED}
    assert len(keys) == len(set(keys.values())) == len(MIXED) - 1


@pytest.mark.parametrize("text", ['["q","1"]', '["q"]', '["set","1"]', '["unit",["q","1"]]', '["named",["x"]]', '["'])
def test_a_text_that_looks_like_a_class_and_is_none_is_not_understood(text: str) -> None:
    assert key(text)[0] == "raw"
    assert grade("1", text).correct is not True


def test_grading_works_in_threads() -> None:
    expected = [read.__wrapped__(text) for text in MIXED]
    results: list[bool] = []

    def work() -> None:
        results.append([read.__wrapped__(text) for text in MIXED] == expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
