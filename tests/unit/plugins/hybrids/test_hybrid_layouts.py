"""Checkpoints of hybrids: both layouts load, convert and export without changing a bit, and say what they lack."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from timetrial.cli.main import run_command_line
from timetrial.error import CheckpointError
from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.layouts import as_published, convert
from timetrial_plugins.models.loading import load_weights
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_plugins.models.saving import export_hybrid, save_weights
from timetrial_registry.checkpoint import read_config

Json = dict[str, Any]
Make = Callable[..., MambaInLlama]
Published = Callable[..., Json]
WriteSplit = Callable[..., Path]
TOKENS = torch.arange(60).reshape(2, 30)
SPLIT_LAYER_0 = {
    "mamba.in_proj_x.weight": (32, 96),
    "mamba.in_proj_z.weight": (96, 96),
    "mamba.B_proj.weight": (32, 96),
    "mamba.C_proj.weight": (96, 96),
    "mamba.dt_proj_down.weight": (6, 96),
    "mamba.dt_proj.weight": (96, 6),
    "mamba.dt_proj.bias": (96,),
    "mamba.conv1d.weight": (96, 1, 4),
    "mamba.conv1d.bias": (96,),
    "mamba.A_log": (96, 16),
    "mamba.D": (96,),
    "mamba.out_proj.weight": (96, 96),
    "mlp.gate_proj.weight": (80, 96),
    "mlp.up_proj.weight": (80, 96),
    "mlp.down_proj.weight": (96, 80),
    "input_layernorm.weight": (96,),
    "post_attention_layernorm.weight": (96,),
}
SPLIT_ATTENTION = {"q_proj": (96, 96), "k_proj": (32, 96), "v_proj": (32, 96), "o_proj": (96, 96)}
FUSED = {"mamba.in_proj.weight": (262, 96), "mha.in_proj.weight": (160, 96), "mha.out_proj.weight": (96, 96)}
MAMBA2_LAYER_0 = {
    "in_proj.weight": (262, 96),
    "conv1d.weight": (160, 1, 4),
    "conv1d.bias": (160,),
    "dt_bias": (6,),
    "A_log": (6,),
    "D": (6,),
    "norm.weight": (96,),
    "out_proj.weight": (96, 96),
}


def load(folder: Path) -> MambaInLlama:
    with torch.device("meta"):
        module = MambaInLlama(HybridConfig.from_json(read_config(folder)))
    load_weights(module, folder, device=torch.device("cpu"), dtype=torch.float32)
    return module.eval()


def logits(module: MambaInLlama) -> torch.Tensor:
    with torch.no_grad():
        return module.logits(TOKENS)


def are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def shapes(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, tuple[int, ...]]:
    return {name.removeprefix(prefix): tuple(t.shape) for name, t in tensors.items() if name.startswith(prefix)}


def test_the_split_layout_has_the_published_names_and_shapes(hybrid: Make) -> None:
    module = hybrid("mamba1")
    tensors = convert(module.state_dict(), module.config, to="split")
    assert shapes(tensors, "model.layers.0.") == SPLIT_LAYER_0
    attention = {f"self_attn.{name}.weight": shape for name, shape in SPLIT_ATTENTION.items()}
    rest = {name: shape for name, shape in SPLIT_LAYER_0.items() if not name.startswith("mamba")}
    assert shapes(tensors, "model.layers.1.") == attention | rest
    assert {name for name in tensors if not name.startswith("model.layers.")} == {
        "model.embed_tokens.weight",
        "model.norm.weight",
    }


def test_the_fused_layout_has_the_published_names_and_shapes(hybrid: Make) -> None:
    tensors = hybrid("mamba1").state_dict()
    found = shapes(tensors, "model.layers.0.") | shapes(tensors, "model.layers.1.")
    assert FUSED.items() <= found.items()
    assert not [name for name in found if "proj_x" in name or "self_attn" in name]


def test_mamba2_layers_have_the_published_names_and_shapes_in_both_layouts(hybrid: Make) -> None:
    module = hybrid("mamba2")
    for tensors in (module.state_dict(), convert(module.state_dict(), module.config, to="split")):
        assert shapes(tensors, "model.layers.0.mamba.") == MAMBA2_LAYER_0
    assert "model.layers.1.self_attn.q_proj.weight" in tensors


@pytest.mark.parametrize("kind", ["mamba1", "mamba2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_converting_there_and_back_changes_no_bit_and_converting_twice_nothing(
    kind: str, dtype: torch.dtype, hybrid: Make
) -> None:
    module = hybrid(kind, dtype)
    fused, config = module.state_dict(), module.config
    split = convert(fused, config, to="split")
    assert are_equal(convert(split, config, to="fused"), dict(fused))
    assert are_equal(convert(split, config, to="split"), split)
    assert are_equal(convert(fused, config, to="fused"), dict(fused))


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t.pop("model.layers.0.mamba.B_proj.weight"), "hold no model.layers.0.mamba.B_proj.weight"),
    (lambda t: t.update({"model.layers.1.mha.in_proj.weight": torch.ones(160, 96)}), "both model.layers.1.mha.in_proj"),
    (lambda t: t.update({"model.layers.1.self_attn.k_proj.weight": torch.ones(96, 96)}), "has 96 rows.*says 32"),
])  # fmt: skip
def test_what_cannot_be_converted_is_named(change: Callable[..., object], message: str, hybrid: Make) -> None:
    module = hybrid("mamba1")
    tensors = convert(module.state_dict(), module.config, to="split")
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        convert(tensors, module.config, to="fused")


@pytest.mark.parametrize("kind", ["mamba1", "mamba2"])
@pytest.mark.parametrize("options", [{}, {"has_head": False}, {"is_pickled": True}], ids=str)
def test_a_published_checkpoint_in_the_split_layout_loads(
    kind: str, options: Json, published: Published, hybrid: Make, write_split: WriteSplit, tmp_path: Path
) -> None:
    data = published(kind)
    loaded = load(write_split(tmp_path, data, **options))
    assert are_equal(loaded.state_dict(), dict(hybrid(data).state_dict()))
    assert torch.equal(logits(loaded), logits(hybrid(data)))


def test_layouts_may_differ_between_mamba_and_attention(
    published: Published, hybrid: Make, write_split: WriteSplit, tmp_path: Path
) -> None:
    folder = write_split(tmp_path, published())
    module = hybrid("mamba1")
    tensors = load_file(folder / "model.safetensors")
    fused = {name: tensor for name, tensor in module.state_dict().items() if "mamba.in_proj" in name}
    kept = {name: tensor for name, tensor in tensors.items() if name not in SPLIT_MAMBA}
    save_file({**kept, **fused}, folder / "model.safetensors")
    assert are_equal(load(folder).state_dict(), dict(module.state_dict()))


SPLIT_MAMBA = {
    f"model.layers.{layer}.mamba.{name}.weight"
    for layer in range(5)
    for name in ("in_proj_x", "in_proj_z", "B_proj", "C_proj", "dt_proj_down")
}


def test_all_that_does_not_fit_is_named_as_the_checkpoint_names_it(
    published: Published, write_split: WriteSplit, tmp_path: Path
) -> None:
    folder = write_split(tmp_path, published())
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.mamba.B_proj.weight"], tensors["model.norm.weight"]
    for name in ("q", "k", "v"):
        del tensors[f"model.layers.1.self_attn.{name}_proj.weight"]
    tensors["model.layers.2.self_attn.q_proj.weight"] = torch.ones(96, 96)
    tensors["model.layers.3.mamba.C_proj.weight"] = torch.ones(95, 96)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    message = str(caught.value)
    for part in (
        "7 problems",
        "missing model.layers.0.mamba.B_proj.weight [32, 96]",
        "missing model.norm.weight [96]",
        "missing model.layers.1.self_attn.q_proj.weight [96, 96]",
        "missing model.layers.1.self_attn.k_proj.weight [32, 96]",
        "missing model.layers.1.self_attn.v_proj.weight [32, 96]",
        "unexpected model.layers.2.self_attn.q_proj.weight [96, 96]",
        "model.layers.3.mamba.C_proj.weight has shape [95, 96], expected [96, 96]",
    ):
        assert part in message


def test_a_fused_checkpoint_is_told_off_in_its_own_names(hybrid: Make, tmp_path: Path) -> None:
    save_weights(hybrid("mamba1"), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.0.mamba.in_proj.weight"]
    tensors["model.layers.1.self_attn.q_proj.weight"] = torch.ones(96, 96)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert "unexpected model.layers.1.self_attn.q_proj.weight [96, 96]" in str(caught.value)
    assert "model.layers.0.mamba.in_proj" in str(caught.value)


def test_an_untied_hybrid_must_bring_its_head(published: Published, write_split: WriteSplit, tmp_path: Path) -> None:
    folder = write_split(tmp_path, published(tie_word_embeddings=False))
    load(folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing lm_head.weight \[61, 96\]"):
        load(folder)


@pytest.mark.parametrize("kind", ["mamba1", "mamba2"])
@pytest.mark.parametrize("conventions", [{}, {"dt_bias_multiplicity": 1}, {"rope_scaling": "llama3"}], ids=str)
def test_what_is_saved_is_loaded_with_its_conventions(
    kind: str, conventions: Json, published: Published, hybrid: Make, tmp_path: Path
) -> None:
    module = hybrid(published(kind, timetrial=conventions))
    save_weights(module, tmp_path, extra={"eos_token_id": [5, 7]})
    loaded = load(tmp_path)
    assert loaded.config == module.config
    assert are_equal(loaded.state_dict(), dict(module.state_dict()))
    assert torch.equal(logits(loaded), logits(module))
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == [5, 7]
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "mamba_config.json", "model.safetensors"}


@pytest.mark.parametrize("kind", ["mamba1", "mamba2"])
@pytest.mark.parametrize("layout", ["fused", "split"])
def test_an_export_computes_the_same_without_a_word_about_conventions(
    kind: str, layout: str, published: Published, hybrid: Make, tmp_path: Path
) -> None:
    module = hybrid(published(kind, timetrial={"dt_bias_multiplicity": 1}))
    export_hybrid(module, tmp_path, layout=layout, extra={"_name_or_path": "meta-llama/Llama-3.2-1B-Instruct"})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["_name_or_path"] == "meta-llama/Llama-3.2-1B-Instruct"
    del config["timetrial"]  # the published code does not look at it
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert torch.equal(logits(load(tmp_path)), logits(module))
    names = load_file(tmp_path / "model.safetensors").keys()
    assert ("lm_head.weight" in names) == ("model.layers.1.self_attn.o_proj.weight" in names) == (layout == "split")


def test_the_companion_file_has_no_key_that_the_published_code_does_not_know(hybrid: Make, tmp_path: Path) -> None:
    known = {"d_model", "ssm_cfg", "rms_norm_eps", "vocab_size", "d_inner", "d_xb", "intermediate_size", "hidden_act"}
    for kind in ("mamba1", "mamba2"):
        save_weights(hybrid(kind), tmp_path)
        assert json.loads((tmp_path / "mamba_config.json").read_text()).keys() == known | {"n_layer", "attn_layers"}


def test_halving_a_bias_loses_nothing(published: Published, hybrid: Make) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        module = hybrid(published(timetrial={"dt_bias_multiplicity": 1}), dtype)
        config, tensors = as_published(module.config, module.state_dict())
        assert config.dt_bias_multiplicity == 2
        restored = {name: 2 * t if name.endswith("dt_proj.bias") else t for name, t in tensors.items()}
        assert are_equal(restored, dict(module.state_dict()))


def test_what_the_published_code_cannot_compute_is_not_exported(
    published: Published, hybrid: Make, tmp_path: Path
) -> None:
    module = hybrid(published(timetrial={"rope_scaling": "llama3"}))
    with pytest.raises(CheckpointError, match="llama3 RoPE scaling"):
        export_hybrid(module, tmp_path, layout="fused")
    assert list(tmp_path.iterdir()) == []


def test_saved_weights_may_be_rounded_and_are_as_readable_as_the_config(hybrid: Make, tmp_path: Path) -> None:
    save_weights(hybrid("mamba1"), tmp_path, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1
    copy = shutil.copytree(tmp_path, tmp_path / "copy")
    assert are_equal(load(Path(copy)).state_dict(), load(tmp_path).state_dict())


@pytest.mark.parametrize("kind", ["mamba1", "mamba2"])
def test_a_converted_checkpoint_computes_the_same_and_comes_back_bit_by_bit(
    kind: str, published: Published, write_split: WriteSplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_split(tmp_path / "split", published(kind, comment="kept"))
    (source / "tokenizer.json").write_text("{}")
    fused, again = tmp_path / "fused", tmp_path / "again"
    assert run_command_line(["convert", str(source), "--layout", "fused", "--out", str(fused)]) == 0
    assert run_command_line(["convert", str(fused), "--layout", "split", "--out", str(again)]) == 0
    assert "in the split layout" in capsys.readouterr().out
    assert "model.layers.1.mha.in_proj.weight" in load_file(fused / "model.safetensors")
    assert torch.equal(logits(load(fused)), logits(load(source)))
    assert are_equal(load_file(again / "model.safetensors"), load_file(source / "model.safetensors"))
    assert (again / "tokenizer.json").read_text() == "{}"
    assert read_config(again)["comment"] == "kept"


def test_a_conversion_overwrites_nothing_and_refuses_other_families(
    published: Published, write_split: WriteSplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_split(tmp_path / "split", published())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    assert run_command_line(["convert", str(source), "--layout", "fused", "--out", str(tmp_path / "full")]) == 2
    assert run_command_line(["convert", "nutshell-llama", "--layout", "fused", "--out", str(tmp_path / "out")]) == 4
    errors = capsys.readouterr().err
    assert "full is not empty" in errors and "needs a mamba_config.json" in errors
    assert not (tmp_path / "out").exists()
