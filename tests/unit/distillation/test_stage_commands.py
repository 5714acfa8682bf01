import json
import shutil

import pytest
from click.testing import CliRunner

from timetrial.cli.main import run_command_line
from timetrial.error import ConfigMismatchError, UnknownNameError, UsageError
from timetrial.testing.fake import FakeClock
from timetrial_distillation.commands import distill
from timetrial_distillation.interruption import InterruptedTraining
from timetrial_distillation.pretrain import LlamaSize, PretrainConfig, pretrain
from timetrial_distillation.solutions import SolutionStream
from timetrial_distillation.trainer import LoopConfig
from timetrial_registry.error import RegistryError
from timetrial_registry.registry import Registry

QUICK = ("--length", 300, "--batch-tokens", 600, "--micro-rows", 2, "--evaluate", "none", "--json")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Return the folder of a Llama of 2 layers and width 64 that has seen a few problems."""
    out = tmp_path_factory.mktemp("teacher") / "llama"
    config = PretrainConfig(
        size=LlamaSize(hidden_size=64, intermediate_size=96, num_layers=2, num_heads=2, num_kv_heads=1),
        loop=LoopConfig(num_steps=12, learning_rate=0.01),
        stream=SolutionStream(batch_examples=8, num_batches=2),
    )
    pretrain(config, out, clock=FakeClock(step_s=0))
    return out


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.setenv("TIMETRIAL_REGISTRY", str(tmp_path / "registry"))
    return Registry()


def invoke(*arguments):
    return CliRunner().invoke(distill, [str(argument) for argument in arguments])


def run(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return json.loads(result.stdout)


def test_fine_tuning_is_published_with_its_lineage(teacher, tmp_path, registry):
    out = tmp_path / "out"
    (result,) = run("finetune", "--from", teacher, "--out", out, "--tokens", 1200, "--registry", "tuned", *QUICK)
    assert (result["num_steps"], result["published"]) == (2, "tuned@1")
    version = registry.get("tuned@1")
    provenance = version.manifest.provenance
    assert (version.stage, provenance.tokens) == ("sft", result["tokens_seen"])
    roles = {parent.role: parent for parent in provenance.parents}
    assert roles.keys() == {"data", "config", "init"}
    assert roles["init"].ref == str(teacher)
    assert roles["data"].ref == "nutshell"
    assert all(parent.digest for parent in provenance.parents)
    assert not (registry.folder("tuned") / "training").exists()


def test_a_finished_stage_is_left_as_it_is(teacher, tmp_path):
    command = ("finetune", "--from", teacher, "--out", tmp_path / "out", "--tokens", 600, *QUICK)
    first = run(*command)
    weights = tmp_path / "out" / "sft" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert run(*command, "--resume") == first
    assert weights.stat().st_mtime_ns == before
    again = invoke(*command)
    assert isinstance(again.exception, UsageError)
    assert "--resume" in str(again.exception)


def test_resuming_with_another_rate_or_data_shows_the_difference(teacher, tmp_path):
    command = ("finetune", "--from", teacher, "--out", tmp_path / "out", "--tokens", 600, *QUICK, "--resume")
    run(*command)
    result = invoke(*command, "--learning-rate", 1.0)
    assert isinstance(result.exception, ConfigMismatchError)
    assert "config.loop.learning_rate: 0.0003 before, 1.0 now" in str(result.exception)
    other = invoke(*command, "--seed", 7)
    assert "data: " in str(other.exception)
    assert run(*command, "--checkpoint-every", 3, "--micro-rows", 1)  # neither changes what comes out


def test_a_dry_run_says_what_a_stage_takes_and_writes_nothing(teacher, tmp_path):
    arguments = ("mohawk", "--teacher", teacher, "--out", tmp_path / "out", "--dry-run", *QUICK)
    (found,) = run(*arguments)
    assert found["stage"] == "mohawk-1"
    assert 0 < found["num_trained"] < found["num_parameters"]
    assert found["step_s"] > 0
    assert not (tmp_path / "out").exists()
    shown = invoke(*arguments[:-1])
    assert "in_proj.weight" in shown.stdout
    assert "whole stage" in shown.stdout


@pytest.mark.parametrize("stage", ["mohawk-2", "mohawk-3"])
def test_a_parent_of_another_stage_is_refused(teacher, tmp_path, stage):
    arguments = ("--teacher", teacher, "--out", tmp_path / "out", "--stage", stage, *QUICK)
    result = invoke("mohawk", *arguments, "--from", teacher)
    assert isinstance(result.exception, UsageError)
    assert f"goes on with the result of mohawk-{int(stage[-1]) - 1}" in str(result.exception)
    assert "does not say which stage made it" in str(result.exception)
    assert "run that stage first" in str(invoke("mohawk", *arguments).exception)


def disguised(teacher, folder, **said):
    """Return a copy of the teacher that says it is a stage's result."""
    shutil.copytree(teacher, folder)
    (folder / "training.json").write_text(json.dumps(said))
    return folder


def test_a_parent_with_another_tokenizer_is_refused(teacher, tmp_path):
    start = disguised(teacher, tmp_path / "start", stage="mohawk-1")
    path = start / "tokenizer_config.json"
    path.write_text(path.read_text().replace("4096", "4095"))
    arguments = ("--teacher", teacher, "--out", tmp_path / "out", "--stage", "mohawk-2", *QUICK)
    result = invoke("mohawk", *arguments, "--from", start)
    assert isinstance(result.exception, UsageError)
    assert "has another tokenizer" in str(result.exception)


def test_a_parent_of_another_teacher_is_refused(teacher, tmp_path):
    start = disguised(teacher, tmp_path / "start", stage="mohawk-1", teacher_digest="0" * 64)
    arguments = ("--teacher", teacher, "--out", tmp_path / "out", "--stage", "mohawk-2", *QUICK)
    result = invoke("mohawk", *arguments, "--from", start)
    assert "distilled from another teacher" in str(result.exception)


def test_a_first_stage_takes_no_start(teacher, tmp_path):
    result = invoke("mohawk", "--teacher", teacher, "--from", teacher, "--out", tmp_path / "out", *QUICK)
    assert "makes a new student of its teacher" in str(result.exception)


def test_what_a_recipe_leaves_open_has_to_be_said(teacher, tmp_path):
    result = invoke("mohawk", "--recipe", "llamba-1b", "--teacher", teacher, "--out", tmp_path / "out", *QUICK)
    assert isinstance(result.exception, UsageError)
    assert "timetrial distill prepare" in str(result.exception)
    unknown = invoke("mohawk", "--stage", "mohawk-4", "--teacher", teacher, "--out", tmp_path / "out", *QUICK)
    assert isinstance(unknown.exception, UnknownNameError)


@pytest.mark.parametrize(
    ("stop", "kept"), [(InterruptedTraining, "the step in progress"), (KeyboardInterrupt, "checkpoint")]
)
def test_who_interrupts_learns_how_to_go_on(teacher, tmp_path, monkeypatch, capsys, stop, kept):
    def interrupted(stage, console):
        raise stop

    monkeypatch.setattr("timetrial_distillation.run_stage.Stage.run", interrupted)
    command = ("distill", "finetune", "--from", teacher, "--out", tmp_path / "out", *QUICK)
    assert run_command_line([str(argument) for argument in command]) == 130
    said = capsys.readouterr().err
    assert kept in said and "the same command with --resume goes on" in said


def test_publishing_under_an_impossible_name_is_refused_before_anything_is_trained(teacher, tmp_path):
    result = invoke("finetune", "--from", teacher, "--out", tmp_path / "out", "--registry", tmp_path / "store", *QUICK)
    assert isinstance(result.exception, RegistryError) and "cannot name a model" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_publishing_under_a_shipped_name_is_refused_before_anything_is_trained(teacher, tmp_path):
    result = invoke("finetune", "--from", teacher, "--out", tmp_path / "out", "--registry", "nutshell-llama", *QUICK)
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_stage_of_mohawk_lowers_its_loss_and_knows_its_parents(teacher, tmp_path, registry):
    arguments = ("mohawk", "--teacher", teacher, "--out", tmp_path / "out", "--registry", "student", *QUICK[:-3])
    results = run(*arguments, "--tokens", 12_000, "--evaluate", "nutshell", "--evaluate-problems", 5, "--json")
    assert [result["stage"] for result in results] == ["mohawk-1", "mohawk-2", "mohawk-3"]
    assert all(result["final_loss"] < result["first_loss"] for result in results)
    assert all(result["evaluation"]["num_problems"] == 5 for result in results)
    last = registry.lineage("student@3")
    parents = {child.role: child.ref for child in last.children}
    assert parents["stage_parent"] == "student@2"
    assert parents["teacher"] == str(teacher)
    assert [metric.metric for _, metric in registry.metrics("student@3")] == ["acc@1"]
    assert registry.verify() == ()


@pytest.mark.slow
def test_a_hybrid_learns_from_its_teacher_and_then_from_solutions(teacher, tmp_path, monkeypatch):
    from dataclasses import replace

    from timetrial_distillation import distill_recipes
    from timetrial_distillation.student import HybridShape

    recipe = distill_recipes.find_distill_recipe("nutshell-mamba-in-llama", "mamba-in-llama")
    small = replace(recipe, shape=HybridShape(attention_layers=(1,)))
    monkeypatch.setattr(distill_recipes, "DISTILL_RECIPES", (small,))
    out = tmp_path / "out"
    sampled = ("--evaluate", "nutshell", "--evaluate-problems", 4, "--evaluate-samples", 2, "--evaluate-every", 10)
    arguments = (
        "--teacher",
        teacher,
        "--out",
        out,
        "--tokens",
        12_000,
        "--learning-rate",
        0.01,
        *QUICK[:-3],
        *sampled,
        "--json",
    )
    kd, sft = run("mamba-in-llama", *arguments)
    assert kd["final_loss"] < kd["first_loss"]
    assert sft["final_loss"] < sft["first_loss"]
    assert 0 <= sft["evaluation"]["coverage"] <= 1
    lines = (out / "training" / "hybrid-kd" / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20]
