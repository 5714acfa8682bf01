"""The named configurations: every model of the paper, and relatives of them, as the configs they are published with.

Data only; `families.BUILDERS` make modules of them, on the meta device if need be. A hybrid's mamba_config.json stands
under "mamba_config", where it is put when it is read.
Facts: docs/models.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedConfiguration:
    """The shape of a model."""

    name: str
    family: str
    config: Json
    """The content of its config.json."""
    doc: str


def _llama(width: int, layers: int, heads: int, inner: int, *, factor: float = 32.0, tied: bool = True) -> Json:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": width // heads,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "eos_token_id": [128001, 128008, 128009],
    }


def _llamba(width: int, layers: int, heads: int, state: int, *, inner: int = 8192, tied: bool = True) -> Json:
    return {
        "model_type": "llamba",
        "vocab_size": 128256,
        "d_model": width,
        "n_layer": layers,
        "tie_embeddings": tied,
        "lm_head_bias": False,
        "pad_vocab_size_multiple": 8,
        "resid_dropout": 0.0,
        "norm_epsilon": 1e-5,
        "mlp_cfg": {"intermediate_size": inner, "bias": False, "act_fn": "silu"},
        "ssm_cfg": {
            "d_state": state,
            "n_v_heads": heads,
            "n_qk_heads": heads,
            "expand": 1,
            "chunk_size": 128,
            "activation": "identity",
            "bias": False,
        },
    }


def _hybrid(llama: Json, attn_layers: Sequence[int], *, mamba2: bool = False) -> Json:
    heads, head_dim = llama["num_attention_heads"], llama["head_dim"]
    ssm = {"expand": 1, "ngroups": heads, "d_state": head_dim} if mamba2 else {"expand": 1}
    companion = {
        "d_model": llama["hidden_size"],
        "ssm_cfg": ssm,
        "rms_norm_eps": llama["rms_norm_eps"],
        "vocab_size": None,
        "d_inner": heads * head_dim if mamba2 else None,
        "d_xb": llama["num_key_value_heads"] * head_dim,
        "intermediate_size": llama["intermediate_size"],
        "hidden_act": "silu",
        "n_layer": llama["num_hidden_layers"],
        "attn_layers": list(attn_layers),
    }
    return {**llama, "mamba_config": companion}


_LLAMA_1B = _llama(2048, 16, 32, 8192)
_LLAMA_3B = _llama(3072, 28, 24, 8192)
_ATTENTION_1B = (3, 7, 11, 15)  # not published; every fourth layer, as in the recipes that are
_ATTENTION_3B = (3, 8, 13, 18, 23, 27)


def named_configurations() -> Sequence[NamedConfiguration]:
    """Return the configurations, smaller ones of a family first."""
    rows = (
        ("llama-3.2-1b", "llama", _LLAMA_1B, "Llama-3.2-1B, a teacher of the paper."),
        ("llama-3.2-3b", "llama", _LLAMA_3B, "Llama-3.2-3B, a teacher of the paper."),
        (
            "llama-3.1-8b",
            "llama",
            _llama(4096, 32, 32, 14336, factor=8.0, tied=False),
            "Llama-3.1-8B, the teacher of the published 8B hybrids.",
        ),
        ("llamba-1b", "llamba", _llamba(2048, 16, 32, 64), "The paper's Llamba-1B; Cartesia's has the same shape."),
        ("llamba-4b", "llamba", _llamba(3072, 28, 24, 128), "The paper's Llamba-4B, by its table of heads and states."),
        (
            "llamba-8b",
            "llamba",
            _llamba(4096, 32, 32, 64, inner=14336, tied=False),
            "Llamba-8B by the defaults of Cartesia's code; its published config may differ.",
        ),
        (
            "mamba-in-llama-1b",
            "mamba_in_llama",
            _hybrid(_LLAMA_1B, _ATTENTION_1B),
            "The paper's hybrid of 16 layers; which 4 keep attention is not published, every fourth is assumed.",
        ),
        (
            "mamba-in-llama-3b",
            "mamba_in_llama",
            _hybrid(_LLAMA_3B, _ATTENTION_3B),
            "The paper's hybrid of 28 layers (it says 26), 6 of them attention, as in M1's training configs.",
        ),
        (
            "mamba2-in-llama-1b",
            "mamba_in_llama",
            _hybrid(_LLAMA_1B, _ATTENTION_1B, mamba2=True),
            "The same with Mamba-2 layers.",
        ),
        (
            "mamba2-in-llama-3b",
            "mamba_in_llama",
            _hybrid(_LLAMA_3B, _ATTENTION_3B, mamba2=True),
            "The same with Mamba-2 layers; the published ones keep attention in half of the layers.",
        ),
    )
    return [NamedConfiguration(name=name, family=family, config=config, doc=doc) for name, family, config, doc in rows]
