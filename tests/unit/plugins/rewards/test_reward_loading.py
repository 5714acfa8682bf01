"""What users may ask for, where it is found, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import timetrial
from timetrial.catalog import open_catalog
from timetrial.error import CheckpointError, UsageError
from timetrial_plugins.rewards import declaration as declarations
from timetrial_plugins.rewards import load_declared, loading
from timetrial_plugins.rewards.checkpoint import Located
from timetrial_plugins.rewards.declaration import Declaration
from timetrial_plugins.rewards.plugin import timetrial_reward_models
from timetrial_registry.registry import Registry

from .checkpoints import write_declared, write_math_shepherd, write_qwen_prm, write_rlhflow, write_skywork
from .vocabularies import write_qwen

CPU = timetrial.LoadOptions(device="cpu", dtype="float32")
SPECS = {spec.name: spec for spec in timetrial_reward_models()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    writers = {
        "rlhflow": write_rlhflow,
        "declared": write_declared,
        "math-shepherd": write_math_shepherd,
        "qwen-prm": write_qwen_prm,
        "skywork-prm": write_skywork,
    }
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in writers.items()}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def test_every_format_is_offered_by_name() -> None:
    assert set(SPECS) == {*declarations.DEFAULT_SPLITTERS, "prm", "likelihood"}
    assert set(SPECS) <= set(open_catalog().reward_models())


@pytest.mark.parametrize("name", ["rlhflow", "outcome"])
def test_where_no_checkpoint_is_usual_one_must_be_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"write {name}:REF, for example {name}:RLHFlow/Llama3.1-8B-.RM-Deepseek-Data"):
        SPECS[name].load(None, CPU)


@pytest.mark.parametrize(("name", "hub_id"), [
    ("math-shepherd", "peiyi9979/math-shepherd-mistral-7b-prm"),
    ("qwen-prm", "Qwen/Qwen2.5-Math-PRM-7B"),
    ("skywork-prm", "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B"),
])  # fmt: skip
def test_a_format_with_a_usual_checkpoint_takes_it(
    monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path], name: str, hub_id: str
) -> None:
    asked: list[str] = []

    def locate(ref: str) -> Located:
        asked.append(ref)
        return Located(folders[name], {})

    monkeypatch.setattr(loading, "locate", locate)
    assert SPECS[name].load(None, CPU).description["format"] == name
    assert SPECS["prm"].load(hub_id, CPU).description["format"] == name
    assert asked == [hub_id, hub_id]


def test_a_checkpoint_that_declares_how_it_reads_needs_no_format(folders: dict[str, Path]) -> None:
    for reward_model in (SPECS["prm"].load(str(folders["declared"]), CPU), load_declared(folders["declared"], CPU)):
        description = reward_model.description
        assert (description["format"], description["splitter"]) == ("rlhflow", "blank-line")
        assert description["labels"] == {"plus": 10, "minus": 12}
        assert json.loads(json.dumps(dict(description))) == description


def test_one_that_does_not_is_refused_with_the_formats_there_are(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="does not say how it reads solutions.*qwen-prm:"):
        SPECS["prm"].load(str(folders["rlhflow"]), CPU)
    with pytest.raises(UsageError, match="write prm:REF"):
        SPECS["prm"].load(None, CPU)


def test_options_after_the_reference_change_how_it_reads_and_are_recorded(folders: dict[str, Path]) -> None:
    ref = f"{folders['declared']}?splitter=newline&system-header=no&share-prompts=no&batch-tokens=99"
    usual, other = (SPECS["prm"].load(text, CPU).description for text in (str(folders["declared"]), ref))
    assert (other["splitter"], other["shares_prompts"], other["batch_tokens"]) == ("newline", False, 99)
    assert usual["template_digest"] != other["template_digest"]
    assert usual["checkpoint_digest"] == other["checkpoint_digest"]


@pytest.mark.parametrize("ref", ["no-such-model", "no/such/folder", "./nowhere"])
def test_a_reference_to_nothing_is_refused(ref: str) -> None:
    with pytest.raises((UsageError, CheckpointError), match="no-such-model|no/such|nowhere"):
        SPECS["rlhflow"].load(ref, CPU)


def test_a_shape_without_weights_is_no_reward_model() -> None:
    with pytest.raises(CheckpointError, match="without weights"):
        SPECS["rlhflow"].load("llamba-4b", CPU)


def test_the_shipped_model_can_be_asked_by_name() -> None:
    reward_model = SPECS["rlhflow"].load("nutshell-llama", CPU)
    assert reward_model.description["family"] == "llama"


def test_a_version_of_a_registry_is_found_and_recorded(
    monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path], tmp_path: Path
) -> None:
    monkeypatch.setenv("TIMETRIAL_REGISTRY", str(tmp_path / "registry"))
    version = Registry(tmp_path / "registry").publish("verifier", folders["declared"])
    description = SPECS["prm"].load("verifier@1", CPU).description
    assert description["registry"] == {"name": "verifier", "version": 1, "digest": version.digest}
    assert description["checkpoint_digest"] == load_declared(folders["declared"], CPU).description["checkpoint_digest"]


# Checkpoints that do not fit


def test_another_models_tokenizer_is_refused(folders: dict[str, Path], copy: Path) -> None:
    shutil.copytree(folders["math-shepherd"], copy)
    write_qwen(copy)
    with pytest.raises(UsageError, match="writes the tag"):
        SPECS["math-shepherd"].load(str(copy), CPU)


@pytest.mark.parametrize(("name", "missing"), [("qwen-prm", "score.2.bias"), ("skywork-prm", "v_head.summary.weight")])
def test_a_head_that_is_not_there_is_refused(folders: dict[str, Path], copy: Path, name: str, missing: str) -> None:
    shutil.copytree(folders[name], copy)
    tensors = load_file(copy / "model.safetensors")
    save_file({key: tensor for key, tensor in tensors.items() if key != missing}, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match="has no score head of this format: expected .*" + missing):
        SPECS[name].load(str(copy), CPU)


def test_a_head_of_another_number_of_classes_is_refused(folders: dict[str, Path], copy: Path) -> None:
    shutil.copytree(folders["qwen-prm"], copy)
    tensors = load_file(copy / "model.safetensors")
    tensors |= {"score.2.weight": torch.zeros(3, 24), "score.2.bias": torch.zeros(3)}
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"with 2 outputs, found .*score.2.weight \[3, 24\]"):
        SPECS["qwen-prm"].load(str(copy), CPU)


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_tensors_that_transformers_would_draw_or_drop_are_refused(
    folders: dict[str, Path], copy: Path, change: str
) -> None:
    shutil.copytree(folders["qwen-prm"], copy)
    tensors = load_file(copy / "model.safetensors")
    if change == "missing":
        del tensors["model.layers.1.mlp.up_proj.weight"]
    else:
        tensors["model.layers.1.mlp.side_proj.weight"] = torch.zeros(2)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"{change} .*layers.1.mlp"):
        SPECS["qwen-prm"].load(str(copy), CPU)


def test_a_family_that_only_code_of_the_checkpoint_knows_is_refused(folders: dict[str, Path], copy: Path) -> None:
    shutil.copytree(folders["skywork-prm"], copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "of-my-own"}))
    with pytest.raises(CheckpointError, match="cannot be loaded by transformers .* without code of its own"):
        SPECS["skywork-prm"].load(str(copy), CPU)


def test_a_declaration_may_be_of_any_format(folders: dict[str, Path], copy: Path) -> None:
    shutil.copytree(folders["skywork-prm"], copy)
    declarations.write(copy, Declaration(format="skywork-prm", splitter="newline"))
    assert load_declared(copy, CPU).description["head"] == "value"
