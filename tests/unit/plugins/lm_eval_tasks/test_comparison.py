"""Two graders on the same completions: every completion is in the table, and those that differ are listed."""

import json

import pytest

from timetrial.catalog import open_catalog
from timetrial.cli.main import run_command_line
from timetrial.error import RunError, UsageError
from timetrial.importer import ImportOptions
from timetrial.importing import import_run
from timetrial_plugins.grading.process import Outcome
from timetrial_plugins.lm_eval_tasks.comparison import _Judge, compare_graders
from timetrial_plugins.lm_eval_tasks.comparison_tables import comparison_tables
from timetrial_plugins.lm_eval_tasks.definition import read_definition
from timetrial_plugins.lm_eval_tasks.reference import parse_reference

TEXTS = ["6 + 4 = 10\n#### 10", "A: 10", "#### 11", "I give up", "so it is 11.\nA: 10"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Five completions of one problem: timetrial reads 10, 10, 11, nothing and 10."""
    folder = tmp_path_factory.mktemp("run")
    row = {"problem": "What is 6 + 4?", "answer": "10", "unique_id": "gsm8k-test-0000", "completions": TEXTS}
    (folder / "dump.jsonl").write_text(json.dumps(row) + "\n")
    options = ImportOptions(task="gsm8k-500", model="m", temperature=0.7)
    return import_run([folder / "dump.jsonl"], options, folder / "run", open_catalog())


@pytest.fixture(scope="module")
def comparisons(run):
    definition = read_definition(parse_reference("gsm8k"))
    return {comparison.metric: comparison for comparison in compare_graders(run, "gsm8k-500", definition)}


def test_each_metric_and_filter_has_a_table_of_all_completions(comparisons):
    assert comparisons["exact_match,strict-match"].counts == {
        ("right", "right"): 1,
        ("right", "wrong"): 2,
        ("wrong", "wrong"): 1,
        ("no answer", "wrong"): 1,
    }
    flexible = comparisons["exact_match,flexible-extract"]
    assert flexible.num_completions == 5 and flexible.counts["right", "right"] == 3


def test_completions_that_differ_are_listed_with_both_answers(comparisons):
    differing = comparisons["exact_match,strict-match"].differing
    assert [(item.sample, item.our_answer, item.ours, item.their_answer, item.theirs) for item in differing] == [
        (1, "10", "right", "[invalid]", "wrong"),
        (4, "10", "right", "[invalid]", "wrong"),
    ]


def test_the_command_prints_what_was_compared_as_json(run, capsys):
    assert run_command_line(["lm-eval", "compare-graders", str(run.path), "--with", "gsm8k", "-q", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert first["metric"] == "exact_match,strict-match"
    assert {"timetrial": "right", "lm_eval": "wrong", "count": 2} in first["counts"]
    assert len(first["differing"]) == 2


def test_tables_count_everything_and_list_what_they_are_asked_to(comparisons):
    counts, listed = comparison_tables([comparisons["exact_match,strict-match"]], 1)
    assert counts.rows == (("right", "1", "2", "0"), ("wrong", "0", "1", "0"), ("no answer", "0", "1", "0"))
    assert "60.0 % right by timetrial, 20.0 % by lm-eval. The two differ on 2." in counts.note
    assert listed.rows == (("m", "gsm8k-test-0000", "1", "10", "10", "right", "[invalid]", "wrong"),)
    assert listed.note.startswith("1 more")


class Dead:
    """Workers that answer nothing, and count who asked."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)

    def ask(self, *arguments):
        return self.outcomes.pop(0)


def judge(*outcomes):
    made = _Judge(read_definition(parse_reference("gsm8k")))
    made._workers = Dead(*outcomes)
    return made


def problem(run):
    from timetrial.stages.report import read_problems

    return next(iter(read_problems(run.path, "gsm8k-500").values()))


def test_a_text_on_which_lm_eval_hangs_is_failed_and_not_wrong(run):
    opinions = judge(Outcome(ending="timed out", detail="no answer within 30 s")).opinions(problem(run), "x")
    assert {opinion.theirs for opinion in opinions.values()} == {"failed"}
    assert opinions["exact_match,strict-match"].reason == "timed out: no answer within 30 s"


def test_a_task_that_fails_at_once_is_refused(run):
    with pytest.raises(UsageError, match="cannot grade here: AssertionError: antlr4"):
        judge(Outcome(ending="failed", detail="AssertionError: antlr4")).opinions(problem(run), "x")


def test_a_metric_that_is_no_verdict_is_failed(run):
    value = {"answer": "x", "metrics": {"exact_match": 0.5}}
    opinions = judge(Outcome(ending="answered", value={"strict-match": value, "flexible-extract": value}))
    assert opinions.opinions(problem(run), "x")["exact_match,strict-match"].theirs == "failed"


def test_a_text_is_judged_once(run):
    value = {"answer": "x", "metrics": {"exact_match": 1}}
    one = judge(Outcome(ending="answered", value={"strict-match": value, "flexible-extract": value}))
    assert one.opinions(problem(run), "x") == one.opinions(problem(run), "x")


def test_a_task_that_grades_no_completions_is_refused(run, tasks_folder):
    with pytest.raises(UsageError, match="grades no completions: it is of kind multiple_choice"):
        compare_graders(run, "gsm8k-500", read_definition(parse_reference(f"{tasks_folder}/choosing")))


def test_a_run_without_grades_says_what_makes_them(run):
    with pytest.raises(RunError, match="no graded completions of nutshell"):
        compare_graders(run, "nutshell", read_definition(parse_reference("gsm8k")))


@pytest.mark.slow
def test_minerva_grades_in_a_process_of_its_own(run):
    """It sets signal handlers and compares by sympy; where its packages are missing, that is said."""
    definition = read_definition(parse_reference("minerva_math500"))
    try:
        found = compare_graders(run, "gsm8k-500", definition)
    except UsageError as error:
        assert "antlr4" in str(error)
        pytest.skip("minerva_math needs lm-eval[math]")
    assert {comparison.metric for comparison in found} == {"exact_match,none", "math_verify,none"}
    assert all(comparison.num_completions == 5 for comparison in found)
