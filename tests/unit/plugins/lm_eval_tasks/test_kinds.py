"""Every kind of lm-eval task is either run as its definition says, or refused with the reason and what to do."""

import sys

import pytest

from timetrial.error import UnknownNameError, UsageError
from timetrial_plugins.lm_eval_tasks.kinds import reading_of
from timetrial_plugins.lm_eval_tasks.reference import Reference
from timetrial_plugins.lm_eval_tasks.task import load_named

EXACT = {"metric_list": [{"metric": "exact_match", "ignore_case": True, "aggregation": "mean"}]}


def reading(config, **chosen):
    return reading_of("t", config, Reference(name="t", **chosen))


def test_a_task_without_metrics_is_graded_by_lm_evals_default():
    assert reading({}).grader == "exact"


def test_exact_match_ignores_what_the_task_says():
    assert reading(EXACT).exact_match == {"ignore_case": True}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"output_type": "multiple_choice"}, "compares likelihoods.*`timetrial general` measures it"),
        ({"output_type": "loglikelihood"}, "compares likelihoods"),
        ({"output_type": "loglikelihood_rolling"}, "perplexity"),
        ({"class": "utils.Squad"}, "Python class of its own"),
        ({"doc_to_image": "image"}, "pictures"),
        ({"unsafe_code": True}, "runs the code"),
        ({"metric_list": [{"metric": "bleu"}, {"metric": "/a/b/utils.rouge"}]}, "by bleu, utils.rouge.*grader=math"),
        ({**EXACT, "process_results": "utils.process"}, "by a function of its own"),
    ],
)
def test_a_kind_that_cannot_be_run_is_refused_with_the_reason(config, reason):
    with pytest.raises(UsageError, match=f"cannot be run here: .*{reason}"):
        reading(config)


@pytest.mark.parametrize(
    ("functions", "reason"),
    [
        (["regex", "majority_vote", "take_first"], "vote among samples"),
        (["multi_choice_regex", "take_first"], "more than the text"),
        (["/a/b/utils.Custom", "take_first"], "more than the text"),
        (["regex"], "several answers of one completion"),
    ],
)
def test_a_filter_that_needs_more_than_one_text_is_refused(functions, reason):
    pipeline = {"name": "f", "filter": [{"function": function} for function in functions]}
    with pytest.raises(UsageError, match=reason):
        reading({**EXACT, "filter_list": [pipeline]})


def test_the_first_filter_that_can_be_used_is_taken():
    vote = {"name": "vote", "filter": [{"function": "majority_vote"}]}
    plain = {"name": "plain", "filter": [{"function": "take_first"}]}
    assert reading({**EXACT, "filter_list": [vote, plain]}).filter["name"] == "plain"


def test_an_unknown_filter_offers_the_closest():
    plain = {"name": "plain", "filter": [{"function": "take_first"}]}
    with pytest.raises(UnknownNameError, match="did you mean 'plain'"):
        reading({**EXACT, "filter_list": [plain]}, filter="plian")


def test_mathematical_tasks_with_code_of_their_own_are_graded_by_timetrial():
    config = {**EXACT, "process_results": "utils.process_results"}
    assert reading_of("minerva_math500", config, Reference(name="minerva_math500")).grader == "math"
    assert reading(config, grader="math").grader == "math"


def test_a_filter_where_timetrial_reads_is_refused_and_not_ignored():
    with pytest.raises(UsageError, match="leave the filter out"):
        reading(EXACT, grader="math", filter="plain")


@pytest.mark.parametrize(
    ("name", "grader"),
    [("gsm8k", "exact"), ("gsm8k_cot", "exact"), ("hendrycks_math500", "math"), ("minerva_math_algebra", "math")],
)
def test_lm_evals_own_tasks_are_found_without_their_data(name, grader):
    assert load_named(name, None).reading.grader == grader


def test_an_unknown_task_offers_the_closest(tasks_folder):
    with pytest.raises(UnknownNameError, match="did you mean 'sums'"):
        load_named(f"{tasks_folder}/sumz", None)


def test_without_lm_eval_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(UsageError, match=r"`pip install 'timetrial\[lm-eval\]'` installs it"):
        load_named("gsm8k", None)


@pytest.mark.parametrize(("name", "members"), [("both", "sums, hinted"), ("easy", "choosing, hinted, .*, translated")])
def test_a_group_and_a_tag_name_their_tasks(tasks_folder, name, members):
    with pytest.raises(UsageError, match=f"the name of several tasks: {members}. Ask for one"):
        load_named(f"{tasks_folder}/{name}", None)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        load_named(f"{tmp_path}/nowhere/sums", None)


@pytest.mark.parametrize("name", ["choosing", "own_code", "translated"])
def test_tasks_of_ones_own_are_refused_like_others(tasks_folder, name):
    with pytest.raises(UsageError, match="cannot be run here"):
        load_named(f"{tasks_folder}/{name}", None)
