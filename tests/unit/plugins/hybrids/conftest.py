"""Hybrids small enough to follow by hand, and their equations written down one token at a time in float64 numpy.

The oracle reads a state dict in the split layout of the older published checkpoints, knows
nothing of the module, and shares no code with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.layouts import convert
from timetrial_plugins.models.mamba_in_llama import MambaInLlama

Array = np.ndarray
Json = dict[str, Any]

VOCABULARY = 61
ROPE = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LLAMA: Json = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": VOCABULARY,
    "hidden_size": 96,
    "intermediate_size": 80,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": ROPE,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
}
MAMBA1: Json = {
    "d_model": 96,
    "ssm_cfg": {"expand": 1},
    "rms_norm_eps": 1e-5,
    "vocab_size": None,
    "d_inner": None,
    "d_xb": 32,
    "intermediate_size": 80,
    "hidden_act": "silu",
    "n_layer": 5,
    "attn_layers": [1, 4],
}
MAMBA2: Json = MAMBA1 | {"ssm_cfg": {"expand": 1, "ngroups": 6, "d_state": 16}, "d_inner": 96}


@pytest.fixture(scope="session")
def published() -> Callable[..., Json]:
    """Return a function that gives a parsed config.json with mamba_config.json in it, as published but tiny."""

    def make(kind: str = "mamba1", *, mamba: Json | None = None, **changes: object) -> Json:
        companion = (MAMBA1 if kind == "mamba1" else MAMBA2) | (mamba or {})
        return LLAMA | {"mamba_config": companion} | changes

    return make


@pytest.fixture(scope="session")
def hybrid(published: Callable[..., Json]) -> Callable[..., MambaInLlama]:
    """Return a function that makes a hybrid with random weights, none of which is neutral."""

    def make(data: Json | str = "mamba1", dtype: torch.dtype = torch.float32) -> MambaInLlama:
        config = HybridConfig.from_json(published(data) if isinstance(data, str) else data)
        generator = torch.Generator().manual_seed(0)
        module = MambaInLlama(config)
        module.initialise(generator, std=0.08)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name.endswith(("norm.weight", "layernorm.weight", ".D")):
                    parameter.uniform_(0.5, 1.5, generator=generator)
                elif name.endswith(("dt_proj.bias", "dt_bias")):
                    parameter.uniform_(-2, 1, generator=generator)  # so that counting it twice is another model
                elif name.endswith("conv1d.weight"):
                    parameter.uniform_(-1, 1, generator=generator)
        return module.to(dtype).eval()

    return make


@pytest.fixture(scope="session")
def oracle() -> Callable[[MambaInLlama, Json, torch.Tensor], torch.Tensor]:
    """Return a function that computes logits (T, V) of one row of tokens from the equations."""

    def run(module: MambaInLlama, data: Json, tokens: torch.Tensor) -> torch.Tensor:
        tensors = convert(module.state_dict(), module.config, to="split")
        arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
        return torch.from_numpy(Oracle(arrays, data).read(tokens.tolist()))

    return run


class Oracle:
    """A hybrid, one token at a time."""

    def __init__(self, weights: Mapping[str, Array], data: Json) -> None:
        self.weights, self.llama, self.mamba = weights, data, data["mamba_config"]
        self.conventions = data.get("timetrial", {})
        self.memory: dict[int, Any] = {}

    def read(self, tokens: list[int]) -> Array:
        embedding = self.weights["model.embed_tokens.weight"]
        rows = []
        for position, token in enumerate(tokens):
            h = embedding[token]
            for layer in range(self.llama["num_hidden_layers"]):
                h = self.block(layer, h, position)
            out = rms(h, self.weights["model.norm.weight"])
            rows.append(self.weights.get("lm_head.weight", embedding) @ out)
        return np.stack(rows)

    def block(self, layer: int, h: Array, position: int) -> Array:
        w = {
            name.removeprefix(f"model.layers.{layer}."): value
            for name, value in self.weights.items()
            if name.startswith(f"model.layers.{layer}.")
        }
        u = rms(h, w["input_layernorm.weight"])
        if layer in self.mamba["attn_layers"]:
            h = h + self.attention(layer, w, u, position)
        elif "ngroups" in self.mamba["ssm_cfg"]:
            h = h + self.mamba2(layer, w, u)
        else:
            h = h + self.mamba1(layer, w, u)
        u = rms(h, w["post_attention_layernorm.weight"])
        return h + w["mlp.down_proj.weight"] @ (silu(w["mlp.gate_proj.weight"] @ u) * (w["mlp.up_proj.weight"] @ u))

    def attention(self, layer: int, w: Mapping[str, Array], u: Array, position: int) -> Array:
        heads, kv_heads = self.llama["num_attention_heads"], self.llama["num_key_value_heads"]
        q = (w["self_attn.q_proj.weight"] @ u).reshape(heads, -1)
        k = (w["self_attn.k_proj.weight"] @ u).reshape(kv_heads, -1)
        v = (w["self_attn.v_proj.weight"] @ u).reshape(kv_heads, -1)
        angles = position * self.frequencies(q.shape[1])
        q, k = turn(q, angles), turn(k, angles)
        seen = self.memory.setdefault(layer, [])
        seen.append((k, v))
        mixed = []
        for head in range(heads):
            its = head // (heads // kv_heads)
            scores = np.array([q[head] @ key[its] / math.sqrt(q.shape[1]) for key, _ in seen])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            mixed.append(sum(weight * value[its] for weight, (_, value) in zip(weights, seen, strict=True)))
        return w["self_attn.o_proj.weight"] @ np.concatenate(mixed)

    def frequencies(self, width: int) -> Array:
        found = []
        for i in range(width // 2):
            inv = self.llama["rope_theta"] ** (-2 * i / width)
            if self.conventions.get("rope_scaling") == "llama3":
                rope = self.llama["rope_scaling"]
                original, low, high = (
                    rope[key] for key in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor")
                )
                wavelength = 2 * math.pi / inv
                if wavelength > original / low:
                    inv /= rope["factor"]
                elif wavelength >= original / high:
                    s = (original / wavelength - low) / (high - low)
                    inv *= (1 - s) / rope["factor"] + s
            found.append(inv)
        return np.array(found)

    def mamba1(self, layer: int, w: Mapping[str, Array], u: Array) -> Array:
        d_inner, n = w["mamba.A_log"].shape
        repeat = d_inner // self.mamba["d_xb"]
        z = w["mamba.in_proj_z.weight"] @ u
        x = np.concatenate([block for block in (w["mamba.in_proj_x.weight"] @ u).reshape(-1, n) for _ in range(repeat)])
        b = [block for block in (w["mamba.B_proj.weight"] @ u).reshape(-1, n) for _ in range(repeat)]
        c = (w["mamba.C_proj.weight"] @ u).reshape(-1, n)
        window, state = self.memory.get(layer, (np.zeros((d_inner, 3)), np.zeros((d_inner, n))))
        columns = np.concatenate([window, x[:, None]], axis=1)
        x = silu((columns * w["mamba.conv1d.weight"][:, 0]).sum(axis=1) + w["mamba.conv1d.bias"])
        times = self.conventions.get("dt_bias_multiplicity", 2)
        dt = w["mamba.dt_proj.weight"] @ (w["mamba.dt_proj_down.weight"] @ u)
        delta = softplus(dt + times * w["mamba.dt_proj.bias"])
        a = -np.exp(w["mamba.A_log"])
        y, after = np.zeros(d_inner), np.zeros_like(state)
        for channel in range(d_inner):
            head = channel // n
            after[channel] = (
                np.exp(delta[channel] * a[channel]) * state[channel] + delta[channel] * x[channel] * b[head]
            )
            y[channel] = after[channel] @ c[head] + w["mamba.D"][channel] * x[channel]
        self.memory[layer] = columns[:, 1:], after
        return w["mamba.out_proj.weight"] @ (y * silu(z))

    def mamba2(self, layer: int, w: Mapping[str, Array], u: Array) -> Array:
        heads, n = (self.mamba["ssm_cfg"][key] for key in ("ngroups", "d_state"))
        inner, narrow = heads * n, self.mamba["d_xb"]
        projected = w["mamba.in_proj.weight"] @ u
        z, xbc, dt = projected[:inner], projected[inner : 2 * inner + 2 * narrow], projected[2 * inner + 2 * narrow :]
        start = np.zeros((xbc.size, 3)), np.zeros((heads, n, n))
        window, state = self.memory.get(layer, start)
        columns = np.concatenate([window, xbc[:, None]], axis=1)
        xbc = silu((columns * w["mamba.conv1d.weight"][:, 0]).sum(axis=1) + w["mamba.conv1d.bias"])
        x, b, c = xbc[:narrow].reshape(-1, n), xbc[narrow : 2 * narrow].reshape(-1, n), xbc[2 * narrow :].reshape(-1, n)
        times = self.conventions.get("dt_bias_multiplicity", 1)
        dt = softplus(dt + times * w["mamba.dt_bias"])
        out, after = [], np.zeros_like(state)
        for head in range(heads):
            its = head // (inner // narrow)
            decay = np.exp(-np.exp(w["mamba.A_log"][head]) * dt[head])
            after[head] = decay * state[head] + dt[head] * np.outer(x[its], b[its])
            y = after[head] @ c[head] + w["mamba.D"][head] * x[its]
            y = y * silu(z[head * n : (head + 1) * n])
            out.append(y / math.sqrt((y * y).mean() + 1e-5))
        self.memory[layer] = columns[:, 1:], after
        return w["mamba.out_proj.weight"] @ (np.concatenate(out) * w["mamba.norm.weight"])


def rms(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x * x).mean() + 1e-5) * weight


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def turn(heads: Array, angles: Array) -> Array:
    first, second = np.split(heads, 2, axis=1)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=1)


@pytest.fixture(scope="session")
def write_split(published: Callable[..., Json], hybrid: Callable[..., MambaInLlama]) -> Callable[..., Path]:
    """Return a function that writes a checkpoint as the older published ones are, with nothing of this project's."""

    def write(folder: Path, data: Json, *, has_head: bool = True, is_pickled: bool = False) -> Path:
        module = hybrid(data)
        tensors = convert(module.state_dict(), module.config, to="split")
        if has_head:
            tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({k: v for k, v in data.items() if k != "mamba_config"}))
        (folder / "mamba_config.json").write_text(json.dumps(data["mamba_config"]))
        if is_pickled:
            torch.save(tensors, folder / "pytorch_model.bin")
        else:
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return write
