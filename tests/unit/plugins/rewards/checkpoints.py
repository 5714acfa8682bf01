"""Tiny random reward models in the layouts of the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from timetrial_plugins.rewards.declaration import Declaration, write

from .vocabularies import write_llama3, write_mistral, write_qwen

CONTEXT = 640
_SHAPE: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.3,
}


def write_rlhflow(folder: Path) -> Path:
    """A Llama of 128,256 tokens whose output head gives the labels."""
    _save(transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=128256, **_SHAPE)), folder)
    return write_llama3(folder)


def write_math_shepherd(folder: Path, *, sliding_window: int | None = None) -> Path:
    """A Mistral of 32,000 tokens whose output head gives the labels, as pickled tensors."""
    config = transformers.MistralConfig(vocab_size=32000, sliding_window=sliding_window, **_SHAPE)
    module = transformers.MistralForCausalLM(config)
    _save(module, folder)
    (folder / "model.safetensors").unlink()
    torch.save(module.state_dict(), folder / "pytorch_model.bin")
    return write_mistral(folder)


def write_qwen_prm(folder: Path) -> Path:
    """A Qwen2 with a head of two classes of its own layers, and a config that asks for code of its own."""
    generator, width = _save_qwen(folder), _SHAPE["hidden_size"]
    head = {
        "score.0.weight": torch.randn(width, width, generator=generator) * 0.2,
        "score.0.bias": torch.randn(width, generator=generator),
        "score.2.weight": torch.randn(2, width, generator=generator) * 0.2,
        "score.2.bias": torch.randn(2, generator=generator),
    }
    _replace_head(folder, head, keeps_output=False)
    auto = {"AutoConfig": "configuration_qwen2_rm.Qwen2RMConfig", "AutoModel": "modeling_rm.Qwen2ForProcessRewardModel"}
    _edit(folder, architectures=["Qwen2ForProcessRewardModel"], auto_map=auto)
    return write_qwen(folder)


def write_skywork(folder: Path) -> Path:
    """A Qwen2 with its output head and a head of one value beside it."""
    generator, width = _save_qwen(folder), _SHAPE["hidden_size"]
    head = {
        "v_head.summary.weight": torch.randn(1, width, generator=generator),
        "v_head.summary.bias": torch.randn(1, generator=generator),
    }
    _replace_head(folder, head, keeps_output=True)
    _edit(folder, architectures=["Qwen2ForPrmModel"])
    return write_qwen(folder, bos="<|endoftext|>")


def write_declared(folder: Path) -> Path:
    """An RLHFlow reward model that says so."""
    write_rlhflow(folder)
    write(folder, Declaration(format="rlhflow", splitter="blank-line"))
    return folder


def _save_qwen(folder: Path) -> torch.Generator:
    _save(transformers.Qwen2ForCausalLM(transformers.Qwen2Config(vocab_size=152064, **_SHAPE)), folder)
    return torch.Generator().manual_seed(1)


def _save(module: Any, folder: Path) -> None:  # Any: transformers has no types
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + ("norm" in name))
    module.save_pretrained(folder)


def _replace_head(folder: Path, head: dict[str, torch.Tensor], *, keeps_output: bool) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if keeps_output or name != "lm_head.weight"}
    save_file(kept | head, folder / "model.safetensors", metadata={"format": "pt"})


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
