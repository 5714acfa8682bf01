"""Figures of greedy answers and general benchmarks, in stages and against each other, from a registry and from runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from timetrial.cli.main import run_command_line
from timetrial.curve_figures import figures_of
from timetrial.error import RunError, UnknownNameError, UsageError
from timetrial.general_figures import figure_of, general_scores, reasoning_scores
from timetrial.general_record import GENERAL_ENTRY, GeneralResult
from timetrial.general_stages import general_report
from timetrial.record import Curve, to_json
from timetrial.report.general_figure import draw_general
from timetrial.report.general_tables import general_tables
from timetrial_registry import Registry
from timetrial_registry.error import UnknownVersionError
from timetrial_registry.joined import JoinedRegistry
from timetrial_registry.records import Metric, Parent, Provenance
from timetrial_registry.shipped import ShippedRegistry

RESULT = GeneralResult(
    model="student@3", task="mmlu", metric="acc", filter="none", value=0.4, standard_error=0.01, higher_is_better=True,
    num_fewshot=5, limit=None, num_docs=1000, lm_eval_version="0.4.13", task_version="1", task_hash="h",
    chat_template=False, wall_s=1.0, environment="key", checkpoint="c",
)  # fmt: skip
GREEDY = Curve(
    model="student@3", task="math-500", temperature=0.0, rule="coverage", reward_model=None, reduction=None, ks=(1,),
    values=(0.3,), standard_errors=(0.02,), low=(0.2,), high=(0.4,), monte_carlo_errors=None, seconds=None,
    seconds_low=None, seconds_high=None, num_problems=500, num_samples=1,
)  # fmt: skip


NAMES = ("by-stage", "correlation")


def acc_at_1(value, task="math-500", n=101):
    return Metric(dataset=task, metric="acc@1", value=value, n=n, params={"temperature": 0.0})


def general(value, task="mmlu", **changes):
    return figure_of(replace(RESULT, task=task, value=value, **changes), run_digest="r")


@pytest.fixture
def publish(tmp_path):
    own = Registry(tmp_path / "registry")

    def add(name, stage, *parents, figures=()):
        folder = tmp_path / f"{name}-{stage}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "echo"}))
        save_file({"weight": np.array([len(own.versions())], np.float32)}, folder / "model.safetensors")
        lineage = tuple(Parent(role=role, ref=parent.ref, digest=parent.digest) for role, parent in parents)
        version = own.publish(name, folder, Provenance(stage=stage, parents=lineage))
        own.attach(version, figures)
        return version

    add.registry = JoinedRegistry(own, ShippedRegistry([]))
    return add


@pytest.fixture
def staged(publish):
    """A teacher, a student of two stages made of it, and somebody else's model."""
    teacher = publish("teacher", None, figures=[acc_at_1(0.6), general(0.5)])
    first = publish(
        "student", "mohawk-1", ("teacher", teacher), ("init", teacher), figures=[acc_at_1(0.1), general(0.3)]
    )
    publish(
        "student", "mohawk-2", ("teacher", teacher), ("stage_parent", first), figures=[acc_at_1(0.5), general(0.35)]
    )
    publish("other", None, figures=[acc_at_1(0.2, task="nutshell"), general(0.9, task="arc")])
    return publish.registry


def test_a_chain_leads_from_the_first_model_through_all_stages(staged):
    assert general_report(staged).chains == (("teacher@1", "student@1", "student@2"),)


def test_forks_share_their_beginning(staged, publish):
    first = staged.get("student@1")
    publish("fork", "sft", ("stage_parent", first), figures=[acc_at_1(0.4)])
    chains = general_report(staged).chains
    assert set(chains) == {("teacher@1", "student@1", "student@2"), ("teacher@1", "student@1", "fork@1")}


def test_correlations_are_over_all_checkpoints_with_both_figures(staged):
    pairs = {(pair.reasoning, pair.general): pair for pair in general_report(staged).pairs}
    together = pairs["math-500", "mmlu acc, 5-shot"]
    assert together.refs == ("teacher@1", "student@1", "student@2")
    expected = np.corrcoef([0.5, 0.3, 0.35], [0.6, 0.1, 0.5])[0, 1]
    assert together.correlation.pearson.value == pytest.approx(expected)
    assert pairs["math-500", "arc acc, 5-shot"].refs == ()


def test_naming_a_model_leaves_others_out_but_not_what_it_was_made_from(staged):
    assert list(general_report(staged, ["student"]).checkpoints) == ["teacher@1", "student@1", "student@2"]


def test_benchmarks_can_be_chosen(staged):
    assert general_report(staged, benchmarks=["arc"]).general == ("arc acc, 5-shot",)
    with pytest.raises(UnknownNameError, match="did you mean 'mmlu'"):
        general_report(staged, benchmarks=["mmlux"])


def test_of_many_figures_the_groups_are_shown(publish):
    tasks = [general(0.3, task=f"mmlu_{number}") for number in range(9)]
    publish("model", None, figures=[acc_at_1(0.5), general(0.4, kind="group"), *tasks])
    assert general_report(publish.registry).general == ("mmlu acc, 5-shot",)


def test_figures_of_another_setting_are_others(publish):
    asked = [
        general(0.3),
        general(0.4, chat_template=True),
        general(0.5, num_fewshot=0, limit=10),
        general(0.6, filter="x"),
    ]
    publish("model", None, figures=[acc_at_1(0.5), *asked])
    assert set(general_report(publish.registry).general) == {
        "mmlu acc, 5-shot", "mmlu acc, 5-shot, chat", "mmlu acc, limit 10", "mmlu acc (x), 5-shot",
    }  # fmt: skip


def test_versions_without_figures_of_both_kinds_say_how_to_get_them(publish):
    publish("model", None, figures=[acc_at_1(0.5)])
    with pytest.raises(UsageError, match="timetrial general --register-metrics"):
        general_report(publish.registry)


def test_an_unknown_model_is_refused(staged):
    with pytest.raises(UnknownVersionError, match="studemt"):
        general_report(staged, ["studemt"])


def test_acc_at_1_is_what_greedy_answers_give_and_nothing_else():
    (greedy,) = figures_of(GREEDY, task_version="1", run_digest="r", facts={})
    (sampled,) = figures_of(replace(GREEDY, temperature=0.6), task_version="1", run_digest="r", facts={})
    more = replace(greedy, params={**greedy.params, "k": 4})
    assert reasoning_scores([sampled, more]) == {}
    found = reasoning_scores([acc_at_1(0.9), greedy, sampled])  # 500 problems rather than 101
    assert (found["math-500"].value, found["math-500"].standard_error) == (0.3, 0.02)


def test_a_share_without_an_error_has_that_of_yes_and_no():
    assert reasoning_scores([acc_at_1(0.5, n=101)])["math-500"].standard_error == pytest.approx(0.05)


def test_a_result_without_a_number_is_no_figure():
    assert figure_of(replace(RESULT, value=None), run_digest="r") is None


def test_other_figures_are_no_general_ones():
    assert general_scores([acc_at_1(0.5), Metric(dataset="wikitext", metric="perplexity", value=9.0)]) == {}


def test_a_run_folder_adds_figures_of_versions_that_have_none_attached(publish, tmp_path):
    version = publish("student", "mohawk-1")
    run = tmp_path / "run"
    run.mkdir()
    facts = {"student@3": {"registry": {"name": "student", "version": 1, "digest": version.digest}}}
    (run / "config.json").write_text(json.dumps({"models": facts, GENERAL_ENTRY: {"models": facts}}))
    (run / "curves.json").write_text(json.dumps({"curves": [to_json(GREEDY)]}))
    (run / "general.jsonl").write_text(json.dumps(to_json(RESULT)) + "\n")
    checkpoint = general_report(publish.registry, [str(run)]).checkpoints["student@1"]
    assert checkpoint.reasoning["math-500"].value == 0.3
    assert checkpoint.general["mmlu acc, 5-shot"].value == 0.4


def test_a_run_of_models_of_no_registry_is_refused(publish, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"models": {"echo": {}}}))
    with pytest.raises(RunError, match="of a version of the registry"):
        general_report(publish.registry, [str(tmp_path)])


def test_tables_have_a_row_for_each_checkpoint_stages_in_order(staged):
    checkpoints, pairs = general_tables(general_report(staged))
    assert [row[:3] for row in checkpoints.rows] == [
        ("teacher@1", "-", "-"),
        ("student@1", "mohawk-1", "teacher@1"),
        ("student@2", "mohawk-2", "student@1"),
        ("other@1", "-", "-"),
    ]
    assert checkpoints.rows[0][3] == "60.0 +- 4.9"
    expected = np.corrcoef([0.5, 0.3, 0.35], [0.6, 0.1, 0.5])[0, 1]
    assert pairs.rows[0][:4] == ("mmlu acc, 5-shot", "math-500", "3", f"{expected:.2f}")


def test_figures_show_both_kinds_of_benchmark_and_are_the_same_bytes_each_time(staged):
    pictures = draw_general(general_report(staged))
    assert [picture.name for picture in pictures] == ["general-by-stage", "general-correlation"]
    by_stage, against = (picture.svg for picture in pictures)
    for text in ("math-500 acc@1", "mmlu acc, 5-shot", "mohawk-1", "mohawk-2", "teacher"):
        assert text in by_stage
    assert "3 checkpoints: Pearson 0." in against
    assert all(picture.png.startswith(b"\x89PNG") for picture in pictures)
    assert draw_general(general_report(staged)) == pictures


def test_the_command_writes_and_prints_the_report(staged, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TIMETRIAL_REGISTRY", str(tmp_path / "registry"))
    out = tmp_path / "out"
    assert run_command_line(["report", "--general", "--json", "--out", str(out)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["report"]["chains"] == [["teacher@1", "student@1", "student@2"]]
    written = {path.name for path in out.iterdir()}
    assert written == {"general.md", *(f"general-{name}.{kind}" for name in NAMES for kind in ("png", "svg"))}
    assert run_command_line(["report", "--general", "--benchmark", "mmlu", "--out", str(out), "student"]) == 0
    assert "Do they move together?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--general", "--register-metrics"], "not for --general: --register-metrics"),
        (["--general", "--gamma", "0"], "not for --general: --gamma"),
        (["run", "--out", "x", "--benchmark", "mmlu"], "need --general: --benchmark, --out"),
    ],
)
def test_flags_that_would_mean_nothing_are_refused(flags, message, capsys):
    assert run_command_line(["report", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_report_of_nothing_says_what_to_name(capsys):
    assert run_command_line(["report"]) == 2
    assert "--general" in capsys.readouterr().err
