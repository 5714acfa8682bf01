"""Answers and verdicts are those of lm-eval's own filters and of its exact_match."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import exact_match_fn

from timetrial.testing import GraderContract
from timetrial_plugins.lm_eval_tasks.answers import ExactMatch, FilteredAnswer, built

GSM8K = {"regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"], "ignore_case": True, "ignore_punctuation": False}
EVERYTHING = {"ignore_case": True, "ignore_punctuation": True, "ignore_numbers": True}
STRICT = {
    "name": "strict-match",
    "filter": [{"function": "regex", "regex_pattern": r"#### (\-?[0-9\.\,]+)"}, {"function": "take_first"}],
}
FLEXIBLE = {
    "name": "flexible-extract",
    "filter": [
        {"function": "regex", "group_select": -1, "regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)"},
        {"function": "take_first"},
    ],
}
TEXTS = ["so\n#### 1,234.", "it costs $18.", "#### -5 and then 7", "nothing", "", "   ", "####", "12 or 13"]
words = st.text(alphabet="aB1,.$# \n", max_size=12)


@pytest.mark.parametrize("options", [{}, GSM8K, EVERYTHING], ids=["plain", "gsm8k", "everything"])
@given(gold=words, answer=words)
def test_verdicts_are_those_of_lm_evals_exact_match(options, gold, answer):
    theirs = exact_match_fn(predictions=[answer], references=[gold], **options)["exact_match"]
    assert ExactMatch(options).grade(gold, answer).correct == bool(theirs)


@pytest.mark.parametrize("options", [{}, GSM8K], ids=["plain", "gsm8k"])
@given(gold=words, answers=st.tuples(words, words))
def test_answers_of_one_class_get_one_verdict(options, gold, answers):
    grader = ExactMatch(options)
    first, second = answers
    if grader.answer_class(first) == grader.answer_class(second):
        assert grader.grade(gold, first) == grader.grade(gold, second)
        assert grader.grade(first, second).correct


def test_one_of_several_gold_answers_is_enough():
    gold = json.dumps(["18", "eighteen"])
    assert ExactMatch(GSM8K).grade(gold, "Eighteen").correct
    assert not ExactMatch(GSM8K).grade(gold, "19").correct


@pytest.mark.parametrize("gold", ["[1, 2]", "[]", '["a"', "12"])
def test_a_gold_answer_that_is_no_list_of_texts_stands_for_itself(gold):
    assert ExactMatch({}).grade(gold, gold).correct


@pytest.mark.parametrize("pipeline", [STRICT, FLEXIBLE], ids=lambda pipeline: pipeline["name"])
@pytest.mark.parametrize("text", TEXTS)
def test_answers_are_what_lm_evals_filters_leave(pipeline, text):
    instance = Instance("generate_until", {}, ("", {}), 0, ("task", 0, 1), resps=[text])
    built(pipeline).apply([instance])
    theirs = instance.filtered_resps[pipeline["name"]]
    assert FilteredAnswer(pipeline)(text) == (None if theirs == "[invalid]" else theirs)


def test_what_a_filter_falls_back_to_is_no_answer():
    pipeline = {"name": "x", "filter": [{**STRICT["filter"][0], "fallback": "none found"}, {"function": "take_first"}]}
    assert FilteredAnswer(pipeline)("no mark") is None


def test_white_space_is_no_answer():
    assert FilteredAnswer({"name": "none", "filter": [{"function": "take_first"}]})(" \n") is None


def test_another_rule_is_another_grader():
    names = {ExactMatch(options).name for options in ({}, GSM8K, EVERYTHING)}
    assert len(names) == 3


class TestExactMatch(GraderContract):
    @pytest.fixture(params=[{}, GSM8K], ids=["plain", "gsm8k"])
    def grader(self, request):
        return ExactMatch(request.param)
