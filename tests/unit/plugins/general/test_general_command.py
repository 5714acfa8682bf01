"""`timetrial general`: stored task by task, continued, refused, registered; and what it says to people and scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from timetrial.cli.main import run_command_line
from timetrial.general_record import GeneralResult, samples_file
from timetrial.runner import Run, RunError
from timetrial.store import RunFolder
from timetrial_plugins.general import command
from timetrial_registry import Registry


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


General = Callable[..., Outcome]


@pytest.fixture
def general(
    long_checkpoint: Path, data_dir: Path, task_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> General:
    """Return a function that runs the command on the tiny tasks, into one run folder."""

    def run(tasks: str, *flags: str, model: str = str(long_checkpoint), out: str = "run") -> Outcome:
        common = ["--model", model, "--tasks", tasks, "--device", "cpu", "--out", str(tmp_path / out), "--quiet"]
        where = ["--include-path", str(task_dir), "--data-dir", str(data_dir)]
        code = run_command_line(["general", *common, *where, *flags])
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def read_samples(folder: RunFolder, result: GeneralResult) -> list[dict[str, Any]]:
    lines = samples_file(folder.path, result.model, result.task).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_results_and_samples_are_stored_with_what_made_them(general, folder, long_checkpoint):
    outcome = general("tiny_arc", "--num-fewshot", "1", "--limit", "5")
    assert outcome.code == 0 and "acc_norm" in outcome.out
    results = list(folder.read(GeneralResult))
    assert [(result.task, result.metric, result.filter) for result in results] == [
        ("tiny_arc", "acc", "none"),
        ("tiny_arc", "acc_norm", "none"),
    ]
    first = results[0]
    assert (first.num_docs, first.limit, first.num_fewshot, first.chat_template) == (5, 5, 1, False)
    assert first.kind == "task" and first.wall_s > 0 and first.lm_eval_version and len(first.task_hash) == 64
    assert first.environment in folder.read_json("environment.json")
    samples = read_samples(folder, first)
    assert [sample["doc_id"] for sample in samples] == [0, 1, 2, 3, 4]
    assert first.value == sum(sample["acc"] for sample in samples) / 5
    assert all(len(sample["arguments"]) == len(sample["resps"]) == 4 for sample in samples)
    entry = folder.read_json("config.json")["general"]
    assert entry["models"][str(long_checkpoint)]["checkpoint_sha256"] == first.checkpoint
    assert entry["config"]["num_fewshot"] == 1 and entry["tasks"] == ["tiny_arc"]


def test_a_finished_task_is_not_run_again_and_tasks_can_be_added(general, folder):
    general("tiny_arc", "--limit", "4")
    first = (folder.path / "general.jsonl").read_text()
    outcome = general("tiny_arc,tiny_writing", "--limit", "4", "--json")
    assert (folder.path / "general.jsonl").read_text().startswith(first)
    assert [result["task"] for result in outcome.json["results"]] == ["tiny_arc", "tiny_arc", "tiny_writing"]


def test_what_is_finished_survives_a_task_that_cannot_be_run(general, folder):
    failed = general("tiny_arc,tiny_beams,tiny_writing", "--limit", "3")
    assert failed.code == 2 and "num_beams=4" in failed.err and "--gen-kwargs" in failed.err
    assert {result.task for result in folder.read(GeneralResult)} == {"tiny_arc"}
    assert general("tiny_arc,tiny_writing", "--limit", "3").code == 0


def test_a_task_whose_own_code_fails_is_named_with_the_cause_and_costs_nothing_else(general, folder):
    failed = general("tiny_arc,tiny_broken", "--limit", "2")
    assert failed.code == 3 and "task 'tiny_broken' of plugin" in failed.err and "no such luck" in failed.err
    assert {result.task for result in folder.read(GeneralResult)} == {"tiny_arc"}


@pytest.mark.parametrize(
    ("flags", "difference"),
    [
        (["--limit", "4"], "limit: the run has 3.0, asked for 4.0"),
        (["--limit", "3", "--num-fewshot", "2"], "num_fewshot: the run has None, asked for 2"),
        (["--limit", "3", "--apply-chat-template"], "apply_chat_template: the run has False, asked for True"),
    ],
)
def test_a_changed_configuration_is_refused_with_the_difference(general, folder, flags, difference):
    general("tiny_arc", "--limit", "3")
    before = (folder.path / "general.jsonl").read_bytes()
    outcome = general("tiny_arc", *flags)
    assert outcome.code == 5 and difference in outcome.err and "another --out" in outcome.err
    assert (folder.path / "general.jsonl").read_bytes() == before


def test_the_batch_size_may_change(general):
    general("tiny_arc", "--limit", "3", "--batch-size", "2")
    assert general("tiny_arc,tiny_writing", "--limit", "3", "--batch-size", "5").code == 0


def test_a_changed_checkpoint_under_the_same_name_is_refused(general, make_checkpoint, tmp_path):
    link = tmp_path / "model"
    link.symlink_to(make_checkpoint(context=2048))
    general("tiny_arc", "--limit", "2", model=str(link))
    link.unlink()
    link.symlink_to(make_checkpoint(context=2048, tied=False))
    outcome = general("tiny_arc", "--limit", "2", model=str(link))
    assert outcome.code == 5 and f"model {link}, checkpoint: the run has" in outcome.err


def test_a_group_brings_its_tasks_and_their_aggregate_by_lm_evals_rule(general, folder):
    results = general("tiny_group", "--json").json["results"]
    assert [(result["task"], result["kind"]) for result in results] == [
        ("tiny_mmlu", "task"),
        ("tiny_virology", "task"),
        ("tiny_group", "group"),
    ]
    *tasks, group = results
    assert group["value"] == pytest.approx(sum(task["value"] * task["num_docs"] for task in tasks) / 20)
    assert group["num_docs"] == 20 and group["task_version"] == "3" and group["num_fewshot"] == 0
    assert group["standard_error"] is not None
    assert general("tiny_group", "--json").json["results"] == results


def test_every_kind_of_request_is_counted_in_seconds_and_progress(general):
    results = general("tiny_rolling,tiny_writing", "--json").json["results"]
    assert {result["metric"] for result in results} == {
        *("word_perplexity", "byte_perplexity", "bits_per_byte"),
        "exact_match",
    }
    assert all(result["wall_s"] > 0 for result in results)


def test_timetrials_own_tasks_are_taken_by_name_beside_lm_evals(general):
    outcome = general("timetrial:nutshell,nutshell_choice", "--limit", "2", "--json", model="nutshell-llama")
    assert outcome.code == 0, outcome.err
    metrics = {(result["task"], result["metric"]) for result in outcome.json["results"]}
    assert {("timetrial_nutshell", "exact_match"), ("nutshell_choice", "acc")} <= metrics


def test_a_definition_that_states_no_examples_stands_and_that_is_said(general):
    outcome = general("nutshell_choice", "--limit", "1", "--num-fewshot", "2", "--json", model="nutshell-llama")
    assert "task nutshell_choice is defined with 0 worked examples" in outcome.err
    assert outcome.json["results"][0]["num_fewshot"] == 0


def test_texts_that_were_cut_are_said(general):
    outcome = general("tiny_arc", "--limit", "2", "--max-length", "40")
    assert outcome.code == 0 and "lost their beginning" in outcome.err


def test_the_chat_format_is_used_and_recorded(general, folder):
    assert general("tiny_writing", "--apply-chat-template", "--limit", "2").code == 0
    (result,) = folder.read(GeneralResult)
    sample = read_samples(folder, result)[0]
    assert result.chat_template and sample["arguments"][0][0].endswith("assistant:")


def test_a_base_model_has_no_chat_format_to_apply(general, make_checkpoint):
    base = make_checkpoint(context=2048, chat_template=None)
    outcome = general("tiny_writing", "--apply-chat-template", model=str(base))
    assert outcome.code == 2 and "no chat template" in outcome.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--limit", "0"], "limit is 0.0"),
        (["--limit", "2.5"], "limit is 2.5"),
        (["--num-fewshot", "-1"], "num_fewshot is -1"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--data-dir", "/nowhere"], "--data-dir /nowhere is no folder"),
        (["--include-path", "/nowhere"], "--include-path /nowhere is no folder"),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(general, folder, flags, said):
    outcome = general("tiny_arc", *flags)
    assert outcome.code == 2 and said in outcome.err
    assert not folder.has(GeneralResult)


def test_data_that_cannot_be_had_says_what_to_put_where(general, tmp_path):
    (tmp_path / "empty").mkdir()
    outcome = general("tiny_arc", "--data-dir", str(tmp_path / "empty"))
    assert outcome.code == 2 and "allenai/ai2_arc (ARC-Challenge)" in outcome.err
    assert "DIR/allenai/ai2_arc/ARC-Challenge/<split>.jsonl" in outcome.err


def test_figures_go_to_the_registry_version_once(general, long_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("TIMETRIAL_REGISTRY", str(tmp_path / "registry"))
    registry = Registry(tmp_path / "registry")
    registry.publish("tiny", long_checkpoint)
    flags = ("--limit", "3", "--register-metrics", "--json")
    outcome = general("tiny_arc", *flags, model="tiny@1")
    assert outcome.json["registered"][0]["num_new"] == 2
    assert general("tiny_arc,tiny_writing", *flags, model="tiny@1").json["registered"][0]["num_new"] == 1
    figures = {metric.metric: metric for _, metric in registry.metrics("tiny@1")}
    assert figures.keys() == {"acc", "acc_norm", "exact_match"}
    assert figures["acc"].dataset == "tiny_arc" and figures["acc"].n == 3
    assert figures["acc"].params["num_fewshot"] == 0 and figures["acc"].params["filter"] == "none"


def test_a_model_outside_the_registry_is_told_so_before_anything_runs(general, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TIMETRIAL_REGISTRY", str(tmp_path / "registry"))
    Registry(tmp_path / "registry")
    outcome = general("tiny_arc", "--register-metrics")
    assert outcome.code == 2 and "--register-metrics needs a model of your registry" in outcome.err
    assert not folder.has(GeneralResult)


def test_a_folder_of_general_benchmarks_is_no_run_on_tasks(general, folder):
    general("tiny_arc", "--limit", "1")
    with pytest.raises(RunError, match="general benchmarks only"):
        Run.open(folder.path)


def test_without_lm_eval_one_line_says_what_to_install(general, monkeypatch):
    monkeypatch.setattr(command, "lm_eval_version", lambda: command_without_lm_eval())
    outcome = general("tiny_arc")
    assert outcome.code == 2 and "pip install 'timetrial[lm-eval]'" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def command_without_lm_eval() -> str:
    from importlib.metadata import PackageNotFoundError

    from timetrial_plugins.general.requirement import lm_eval_version

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    return lm_eval_version(missing)


def test_an_untested_version_is_warned_about_with_the_tested_range(general, monkeypatch):
    monkeypatch.setattr(command, "lm_eval_version", lambda: "9.9")
    outcome = general("tiny_arc", "--limit", "1")
    assert outcome.code == 0 and "lm-eval 9.9 is outside the tested range (0.4.13)" in outcome.err
