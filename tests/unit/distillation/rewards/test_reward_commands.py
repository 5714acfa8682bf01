"""The commands on a tiny Llama and labels that know which solutions were spoilt."""

import json
from random import Random

import pytest
import torch
from click.testing import CliRunner

import timetrial
from timetrial.error import ConfigMismatchError, UnknownNameError, UsageError
from timetrial.spec import LoadOptions
from timetrial_distillation.commands import distill
from timetrial_distillation.rewards.labels import LabelledSolution
from timetrial_distillation.rewards.recipes import find_reward_recipe
from timetrial_distillation.student import HybridShape, LlambaShape, initialised_student
from timetrial_distillation.trainer import Trainer
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.saving import save_weights
from timetrial_plugins.nutshell.generator import training_problem
from timetrial_plugins.nutshell.tokenizer import load_tokenizer, write_tokenizer
from timetrial_plugins.rewards import load_declared
from timetrial_registry.registry import Registry

QUICK = ("--batch-rows", 2, "--length", 256, "--micro-rows", 2, "--checkpoint-every", 2, "--json")
FEW = ("--count", 1, "--samples", 1, "--rollouts", 1, "--json")


def solution(number):
    """Return a worked solution; of every other one a step is spoilt, and all behind it labelled as wrong."""
    problem = training_problem(1, number)
    steps = problem.solution.split("\n\n")
    first = Random(number).randrange(len(steps)) if number % 2 else len(steps)
    if number % 2:
        steps[first] = steps[first].replace("1", "7").replace("2", "9")
    right = tuple(int(place < first) for place in range(len(steps)))
    return LabelledSolution(
        problem_id=problem.id,
        problem=problem.text,
        steps=tuple(steps),
        right=right,
        rollouts=(1,) * len(steps),
        truth=tuple(map(bool, right)),
    )


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    path.write_text("".join(json.dumps(solution(n).to_json()) + "\n" for n in range(16)), encoding="utf-8")
    return path


def tiny_llama(tokenizer):
    llama = Llama(
        LlamaConfig(
            vocab_size=len(load_tokenizer(tokenizer)),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=32,
            tie_word_embeddings=True,
        )
    )
    llama.initialise(torch.Generator().manual_seed(0))
    return llama


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return the folder of a Llama of 2 layers and width 32 that knows nothing."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tokenizer(folder)
    save_weights(tiny_llama(folder), folder, dtype=torch.float32)
    return folder


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


def test_what_is_trained_scores_as_it_declares_and_is_published_with_its_quality(labels, tiny, tmp_path, registry):
    out = tmp_path / "out"
    result = run(
        *("reward-model", "--data", labels, "--held-out", labels, "--out", out, "--registry", "verifier", *QUICK),
        *("--epochs", 4, "--init", tiny),
    )
    assert result["published"] == "verifier@1"
    assert result["final_loss"] < result["first_loss"]
    assert (result["solutions"], result["left_out"]) == (16, {})
    model = load_declared(out / "reward-model", LoadOptions(device="cpu"))
    assert model.description["format"] == "rlhflow"
    version = registry.get("verifier@1")
    provenance = version.manifest.provenance
    assert version.stage == "reward-model"
    assert provenance.recipe["lesson"]["reading"]["labels"] == "soft"
    roles = {parent.role: parent for parent in provenance.parents}
    assert roles["data"].ref == str(labels) and roles["data"].digest
    assert roles["init"].ref == str(tiny)
    figures = {(metric.metric, metric.params["labels"]) for _, metric in registry.metrics("verifier@1")}
    assert {("step-auc", "truth"), ("ece", "soft"), ("first-error-f1", "hard")} <= figures
    assert json.loads((out / "training/reward-model/quality.json").read_text(encoding="utf-8")) == result["held_out"]


def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(labels, tiny, tmp_path, monkeypatch):
    command = ("reward-model", "--init", tiny, "--data", labels, *QUICK, "--epochs", 2, "--out")
    run(*command, tmp_path / "whole")
    advance = Trainer.advance

    def dies(self, step):
        if step == 3:
            raise KeyboardInterrupt
        return advance(self, step)

    monkeypatch.setattr(Trainer, "advance", dies)
    killed = invoke(*command, tmp_path / "killed")
    assert killed.exit_code != 0
    monkeypatch.setattr(Trainer, "advance", advance)
    run(*command, tmp_path / "killed", "--resume")
    weights = [(tmp_path / name / "reward-model/model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_resuming_with_other_labels_shows_the_difference(labels, tiny, tmp_path):
    command = ("reward-model", "--init", tiny, "--data", labels, "--out", tmp_path / "out", *QUICK, "--resume")
    run(*command)
    result = invoke(*command, "--labels", "hard")
    assert isinstance(result.exception, ConfigMismatchError)
    assert "config.lesson.reading.labels: soft before, hard now" in str(result.exception)
    assert isinstance(invoke(*command, "--limit", 4).exception, ConfigMismatchError)


def test_an_outcome_model_gives_one_score(labels, tiny, tmp_path):
    orm = ("--recipe", "nutshell-orm", "--init", tiny)
    run("reward-model", *orm, "--data", labels, "--out", tmp_path, *QUICK)
    model = load_declared(tmp_path / "reward-model", LoadOptions(device="cpu"))
    problem = timetrial.Problem(id="1", text=solution(1).problem, gold="")
    prompt = timetrial.Prompt(problem="1", messages=(timetrial.Message("user", problem.text),))
    completion = timetrial.Completion(
        model="m",
        task="t",
        temperature=0.8,
        problem="1",
        sample=0,
        text=solution(1).text,
        finish="stop",
        num_prompt_tokens=None,
        num_tokens=None,
        prompt_digest="",
    )
    (scores,) = model.score(problem, prompt, [completion])
    assert len(scores) == 1


@pytest.mark.parametrize("shape", [LlambaShape(state_size=16), HybridShape(attention_layers=(1,))])
def test_a_model_without_attention_in_every_layer_makes_a_verifier_too(labels, tmp_path, shape):
    write_tokenizer(tmp_path)
    save_weights(initialised_student(shape, tiny_llama(tmp_path), 0), tmp_path, dtype=torch.float32)
    out = tmp_path / "out"
    run("reward-model", "--init", tmp_path, "--data", labels, "--limit", 4, "--out", out, *QUICK)
    found = run("evaluate-reward-model", "--reward-model", f"prm:{out / 'reward-model'}", "--data", labels, "--json")
    assert found["quality"]["truth"]["num_solutions"] == 16


def test_a_dry_run_says_what_it_takes_and_writes_nothing(labels, tiny, tmp_path):
    found = run("reward-model", "--init", tiny, "--data", labels, "--out", tmp_path / "out", *QUICK, "--dry-run")
    assert found["stage"] == "reward-model" and found["num_steps"] > 0
    assert not (tmp_path / "out").exists()


def test_any_reward_model_is_evaluated_on_the_command_line(labels, tmp_path):
    figure = tmp_path / "reliability.svg"
    command = ("evaluate-reward-model", "--reward-model", "likelihood:nutshell-llama", "--data", labels, "--limit", 6)
    found = run(*command, "--figure", figure, "--json")
    assert found["quality"]["truth"]["num_solutions"] == 6
    assert figure.exists()
    shown = invoke(*command)
    assert shown.exit_code == 0
    for words in ("step AUC [95%]", "ECE", "first error", "Reliability, truth"):
        assert words in shown.stdout
    wrong = invoke(*command, "--figure", tmp_path / "figure.gif")
    assert isinstance(wrong.exception, UsageError) and "'.gif'" in str(wrong.exception)


def test_labels_are_made_and_counted_on_the_command_line(tmp_path):
    out = tmp_path / "labels"
    command = ("label-steps", "--model", "nutshell-llama", "--task", "nutshell", *FEW)
    index = run(*command, "--out", out)
    assert index["counts"]["problems"] == 1
    shown = invoke(*command[:-1], "--out", out, "--quiet")
    assert "labelled + (any rollout right)" in shown.stdout


def test_labels_of_test_problems_are_not_trained_on(tmp_path):
    out = tmp_path / "labels"
    run("label-steps", "--model", "nutshell-llama", "--task", "nutshell", "--problems", "test", *FEW, "--out", out)
    refused = invoke("reward-model", "--data", out, "--out", tmp_path / "out", *QUICK)
    assert isinstance(refused.exception, UsageError)
    assert "are of the problems of the task 'nutshell' itself" in str(refused.exception)


def test_recipes_without_labels_and_unknown_recipes_are_refused(tmp_path):
    result = invoke("reward-model", "--out", tmp_path / "out", *QUICK)
    assert isinstance(result.exception, UsageError)
    assert "comes without labels" in str(result.exception)
    with pytest.raises(UnknownNameError, match="did you mean 'nutshell-prm'"):
        find_reward_recipe("nutshel-prm")


def test_the_published_recipe_has_the_published_values():
    recipe = find_reward_recipe("llama-3.1-8b-prm")
    assert (recipe.learning_rate, recipe.epochs, recipe.batch_rows, recipe.length) == (2e-6, 1, 32, 8192)
    assert (recipe.weight_decay, recipe.schedule.kind, recipe.schedule.warmup_fraction) == (0.0, "cosine", 0.05)
    assert (recipe.reading.labels, recipe.reading.replies, recipe.loss) == ("hard", "labels", "vocabulary")
