"""Loading a Llama checkpoint: every layout gives the same model, and what does not fit is refused as a whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from timetrial.error import CheckpointError, UsageError
from timetrial.spec import LoadOptions
from timetrial_plugins.engine.loading import load_model
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.plugin import timetrial_checkpoints, timetrial_models

EditJson = Callable[..., None]
MakeCheckpoint = Callable[..., Path]
TOKENS = torch.arange(60).reshape(2, 30)


def load(folder: Path, **options: str) -> EngineModel:
    return load_model(folder, LoadOptions(**options), family="llama", build=lambda c: Llama(LlamaConfig.from_json(c)))


def logits_of_transformers(folder: Path) -> torch.Tensor:
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / "copy"))


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "options", [{"tied": True}, {"tied": False, "kv_heads": 3}, {"max_shard_size": "40KB"}], ids=str
)
def test_a_saved_model_gives_the_logits_of_transformers(
    make_checkpoint: MakeCheckpoint, options: dict[str, object]
) -> None:
    folder = make_checkpoint(**options)
    is_sharded = "max_shard_size" in options
    assert (folder / "model.safetensors.index.json").exists() == is_sharded
    assert torch.allclose(load(folder).logits(TOKENS), logits_of_transformers(folder), rtol=0, atol=1e-5)


@pytest.mark.parametrize("is_sharded", [False, True])
def test_pickled_tensors_give_the_same_logits(tiny_checkpoint: Path, tmp_path: Path, is_sharded: bool) -> None:
    folder = copy(tiny_checkpoint, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if is_sharded:
        names = sorted(tensors)
        shards = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
        for file, its_names in shards.items():
            torch.save({name: tensors[name] for name in its_names}, folder / file)
        index = {"weight_map": {name: file for file, its_names in shards.items() for name in its_names}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    assert torch.equal(load(folder).logits(TOKENS), load(tiny_checkpoint).logits(TOKENS))


def test_the_old_spelling_of_the_config_gives_the_same_logits(
    tiny_checkpoint: Path, tmp_path: Path, edit_json: EditJson
) -> None:
    folder = copy(tiny_checkpoint, tmp_path)
    rope = json.loads((folder / "config.json").read_text())["rope_parameters"]
    theta = rope.pop("rope_theta")
    edit_json(folder / "config.json", remove=("rope_parameters",), rope_theta=theta, rope_scaling=rope)
    assert torch.equal(load(folder).logits(TOKENS), load(tiny_checkpoint).logits(TOKENS))


def test_tensors_that_the_module_makes_itself_may_be_in_the_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = copy(tiny_checkpoint, tmp_path)

    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)

    rewrite(folder, add)
    assert torch.equal(load(folder).logits(TOKENS), load(tiny_checkpoint).logits(TOKENS))


def test_weights_are_cast_to_the_type_asked_for(tiny_checkpoint: Path) -> None:
    exact, rounded = load(tiny_checkpoint), load(tiny_checkpoint, dtype="bfloat16", device="cpu")
    assert exact.description["dtype"] == "float32" and rounded.description["dtype"] == "bfloat16"
    assert rounded.description["weight_bytes"] * 2 == exact.description["weight_bytes"]
    difference = (rounded.logits(TOKENS) - exact.logits(TOKENS)).abs().max()
    assert 0 < difference < 0.1 * exact.logits(TOKENS).abs().max()


def test_all_tensors_that_do_not_fit_are_listed_in_one_error(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = copy(tiny_checkpoint, tmp_path)

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["model.norm.weight"], tensors["model.layers.1.mlp.up_proj.weight"]
        tensors["model.layers.0.mamba.A_log"] = torch.ones(3)
        tensors["model.layers.0.self_attn.k_proj.weight"] = torch.ones(48, 48)

    rewrite(folder, spoil)
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    message = str(caught.value)
    assert str(folder) in message and "4 problems" in message
    assert "missing model.norm.weight [48]" in message
    assert "missing model.layers.1.mlp.up_proj.weight [64, 48]" in message
    assert "unexpected model.layers.0.mamba.A_log [3]" in message
    assert "model.layers.0.self_attn.k_proj.weight has shape [48, 48], expected [16, 48]" in message


def test_an_untied_model_must_bring_its_head(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint(tied=False)
    rewrite(folder, lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(CheckpointError, match=r"missing lm_head.weight \[258, 48\]"):
        load(folder)


def test_a_truncated_file_is_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = copy(tiny_checkpoint, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load(folder)
    weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04 half a zip file")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        load(folder)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("hostile-code-has-run",)


def test_code_in_a_pickle_is_refused_and_never_run(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = copy(tiny_checkpoint, tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Hostile()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="refused.*safetensors"):
        load(folder)
    assert not (tmp_path / "hostile-code-has-run").exists()


def test_a_pickle_of_something_else_than_tensors_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = copy(tiny_checkpoint, tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"epoch": 3}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="mapping from names to tensors"):
        load(folder)


@pytest.mark.parametrize(("options", "message"), [
    ({"device": "cdua"}, "unknown device 'cdua': did you mean 'cuda'"),
    ({"device": "cpu:1"}, "unknown device 'cpu:1'"),
    ({"device": "cuda:99"}, "cuda:99.*PyTorch finds"),
    ({"dtype": "float64"}, "unknown dtype 'float64': did you mean 'float"),
    ({"dtype": "bf16"}, "unknown dtype 'bf16'"),
])  # fmt: skip
def test_options_that_mean_nothing_are_refused(tiny_checkpoint: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(tiny_checkpoint, **options)


def test_end_of_sequence_ids_come_from_all_three_files(
    tiny_checkpoint: Path, tmp_path: Path, edit_json: EditJson
) -> None:
    folder = copy(tiny_checkpoint, tmp_path)
    edit_json(folder / "config.json", eos_token_id=5)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    assert load(folder).description["eos_ids"] == [5, 7, 9, 257]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": "</s>"}))
    with pytest.raises(CheckpointError, match="eos_token_id"):
        load(folder)
    (folder / "generation_config.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        load(folder)


def test_the_plugin_offers_the_family_and_the_papers_teachers(tiny_checkpoint: Path) -> None:
    spec = next(spec for spec in timetrial_models() if spec.family == "llama")
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    assert spec.recognises(config)
    assert not spec.recognises(config | {"model_type": "llamba"}) and not spec.recognises({})
    assert not spec.recognises(config | {"mamba_config": {}}), "a hybrid has the config of its Llama"
    assert spec.load(tiny_checkpoint, LoadOptions()).description["family"] == "llama"
    recommended = {c.location: c.temperature for c in timetrial_checkpoints() if c.family == "llama" and c.location}
    assert recommended == {"meta-llama/Llama-3.2-1B-Instruct": 0.6, "meta-llama/Llama-3.2-3B-Instruct": 0.8}


def test_importing_the_plugin_imports_no_torch() -> None:
    code = "import sys, timetrial_plugins.models.plugin as p; p.timetrial_models(); p.timetrial_checkpoints()"
    check = f"{code}; sys.exit(bool({{'torch', 'transformers', 'safetensors'}} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", check], env=environment, check=False).returncode == 0
