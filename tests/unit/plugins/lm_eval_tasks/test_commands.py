"""`timetrial lm-eval` and `--task lm-eval:...` from the command line."""

import json

import pytest

from timetrial.cli.main import run_command_line


def test_check_says_what_can_be_run_and_why_not(tasks_folder, capsys):
    names = [f"{tasks_folder}/sums", f"{tasks_folder}/choosing"]
    assert run_command_line(["lm-eval", "check", *names, "--json"]) == 2
    good, bad = json.loads(capsys.readouterr().out)
    assert good["why not"] is None and good["shots"] == 2 and good["filters"] == ["strict", "last"]
    assert "compares likelihoods" in bad["why not"]


def test_export_says_how_to_run_it(tmp_path, capsys):
    assert run_command_line(["lm-eval", "export", "nutshell", str(tmp_path / "out")]) == 0
    assert f"lm_eval --include_path {tmp_path / 'out'} --tasks timetrial_nutshell" in capsys.readouterr().out


def test_data_is_given_for_a_task_whose_name_holds_an_equals_sign(tmp_path, capsys):
    rows = str(tmp_path / "rows.jsonl")
    tasks = "nutshell,lm-eval:gsm8k:fewshot=0"
    given = ["run", "-m", "nutshell-llama", "-t", tasks, "-q", "--no-time", "--out", str(tmp_path / "run")]
    assert run_command_line([*given, "--data", f"lm-eval:gsm8k:fewshot=0={rows}"]) == 4
    assert f"{rows}: cannot be read" in capsys.readouterr().err


def test_lm_eval_alone_names_no_task(capsys):
    assert run_command_line(["run", "-m", "nutshell-llama", "-t", "lm-eval", "-q"]) == 2
    assert "name one behind a colon" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_on_a_task_of_lm_eval_is_graded_by_its_metric_and_graded_again_without_data(tasks_folder, tmp_path):
    out = str(tmp_path / "run")
    asked = ["-m", "nutshell-llama", "-t", f"lm-eval:{tasks_folder}/sums:filter=last", "--temperature", "0"]
    assert run_command_line(["run", *asked, "-n", "1", "--no-time", "--max-tokens", "8", "-q", "--out", out]) == 0
    grades = [json.loads(line) for line in (tmp_path / "run" / "grades.jsonl").read_text().splitlines()]
    assert len(grades) == 6
    assert {grade["grader"].partition("/")[0] for grade in grades} == {"lm-eval-exact-match"}
    assert run_command_line(["grade", out, "-q"]) == 0
    assert [json.loads(line) for line in (tmp_path / "run" / "grades.jsonl").read_text().splitlines()] == grades
