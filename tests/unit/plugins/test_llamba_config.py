"""The config.json of a Llamba: as published, with what may be absent, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from timetrial.error import CheckpointError
from timetrial_plugins.models.llamba_config import LlambaConfig, MixerConfig, MLPConfig

PUBLISHED: dict[str, Any] = {
    "model_type": "llamba",
    "vocab_size": 128256,
    "d_model": 2048,
    "n_layer": 16,
    "tie_embeddings": True,
    "lm_head_bias": False,
    "pad_vocab_size_multiple": 8,
    "resid_dropout": 0.0,
    "norm_epsilon": 1e-05,
    "mlp_cfg": {"intermediate_size": 8192, "bias": False, "act_fn": "silu"},
    "ssm_cfg": {
        "d_state": 64,
        "n_v_heads": 32,
        "n_qk_heads": 32,
        "expand": 1,
        "chunk_size": 128,
        "activation": "identity",
        "bias": False,
    },
}
SAVED_BY_TRANSFORMERS = {
    "architectures": None,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.46.1",
    "lm_head_prenorm": "rms",
    "pad_token_id": None,
    "eos_token_id": None,
    "is_decoder": False,
    "id2label": {"0": "LABEL_0"},
}


def change(**changes: Any) -> dict[str, Any]:
    """Return the published config with changes; a mapping changes keys of a section, ... removes one."""
    data = json.loads(json.dumps(PUBLISHED))
    for name, value in changes.items():
        if isinstance(value, dict):
            data[name] |= value
        else:
            data[name] = value
    return {name: _without(value) for name, value in data.items() if value is not ...}


def _without(value: Any) -> Any:
    return {name: entry for name, entry in value.items() if entry is not ...} if isinstance(value, dict) else value


def test_the_published_config_is_read_whole() -> None:
    assert LlambaConfig.from_json(PUBLISHED) == LlambaConfig(
        vocab_size=128256,
        d_model=2048,
        n_layer=16,
        tie_embeddings=True,
        lm_head_bias=False,
        pad_vocab_size_multiple=8,
        norm_epsilon=1e-5,
        mlp_cfg=MLPConfig(intermediate_size=8192, bias=False, act_fn="silu"),
        ssm_cfg=MixerConfig(
            d_state=64, n_v_heads=32, n_qk_heads=32, d_conv=4, expand=1, chunk_size=128, bias=False, conv_bias=True
        ),
    )


def test_every_size_is_taken_from_the_config() -> None:
    mixer = {"d_state": 16, "n_v_heads": 8, "n_qk_heads": 4, "d_conv": 3, "expand": 2, "chunk_size": 32}
    flags = {"bias": True, "conv_bias": False}
    data = change(
        vocab_size=1001, d_model=64, n_layer=3, tie_embeddings=False, lm_head_bias=True, pad_vocab_size_multiple=16,
        norm_epsilon=1e-6, mlp_cfg={"intermediate_size": 96, "bias": True}, ssm_cfg=mixer | flags,
    )  # fmt: skip
    config = LlambaConfig.from_json(data)
    assert {**config.to_json(), "resid_dropout": 0.0} == data
    assert (config.num_rows, config.inner_width, config.conv_channels) == (1008, 128, 128 + 2 * 4 * 16)


def test_keys_that_transformers_adds_change_nothing() -> None:
    assert LlambaConfig.from_json(PUBLISHED | SAVED_BY_TRANSFORMERS) == LlambaConfig.from_json(PUBLISHED)


@pytest.mark.parametrize("absent", [..., None], ids=["absent", "null"])
def test_absent_optional_keys_mean_what_they_mean_to_the_published_code(absent: Any) -> None:
    sparse = {"ssm_cfg": {"chunk_size": absent, "expand": absent, "activation": absent, "bias": absent}}
    assert LlambaConfig.from_json(change(**sparse)) == LlambaConfig.from_json(PUBLISHED)
    least = LlambaConfig.from_json(
        {"vocab_size": 128256, "d_model": 4096} | ({} if absent is ... else {"ssm_cfg": None})
    )
    assert (least.n_layer, least.tie_embeddings, least.mlp_cfg.intermediate_size) == (32, False, 14336)
    assert (least.ssm_cfg.n_v_heads, least.ssm_cfg.d_state, least.ssm_cfg.chunk_size) == (32, 64, 128)


@pytest.mark.parametrize(("vocabulary", "multiple", "rows"), [(128256, 8, 128256), (97, 8, 104), (97, 1, 97)])
def test_the_embedding_is_padded_up(vocabulary: int, multiple: int, rows: int) -> None:
    data = change(vocab_size=vocabulary, pad_vocab_size_multiple=multiple)
    assert LlambaConfig.from_json(data).num_rows == rows


def test_a_written_config_is_read_back() -> None:
    config = replace(LlambaConfig.from_json(PUBLISHED), norm_epsilon=2e-5)
    written = json.loads(json.dumps(config.to_json()))
    assert LlambaConfig.from_json(written) == config
    assert {name: written[name] for name in ("model_type", "resid_dropout")} == {
        "model_type": "llamba",
        "resid_dropout": 0.0,
    }
    published = LlambaConfig.from_json(PUBLISHED).to_json()
    assert PUBLISHED["ssm_cfg"].items() <= published["ssm_cfg"].items() and set(PUBLISHED) == set(published)


@pytest.mark.parametrize(("changes", "message"), [
    ({"vocab_size": ...}, "vocab_size is missing; expected a whole number above 0"),
    ({"d_model": None}, "d_model is missing"),
    ({"d_model": "2048"}, "d_model is '2048'; expected a whole number"),
    ({"n_layer": 0}, "n_layer is 0; expected a whole number above 0"),
    ({"n_layer": True}, "n_layer is True"),
    ({"tie_embeddings": "yes"}, "tie_embeddings is 'yes'; expected true or false"),
    ({"norm_epsilon": -1e-5}, "norm_epsilon is -1e-05; expected a number above 0"),
    ({"mlp_cfg": {"intermediate_size": 8192.5}}, r"mlp_cfg\.intermediate_size is 8192\.5"),
    ({"mlp_cfg": {"act_fn": "gelu"}}, r"mlp_cfg\.act_fn is 'gelu'; expected 'silu'"),
    ({"ssm_cfg": {"d_state": -64}}, r"ssm_cfg\.d_state is -64"),
    ({"ssm_cfg": {"chunk_size": 0}}, r"ssm_cfg\.chunk_size is 0"),
    ({"ssm_cfg": {"n_v_heads": 30}}, r"ssm_cfg\.n_v_heads is 30; expected a divisor of expand \* d_model, 2048"),
    ({"ssm_cfg": {"n_qk_heads": 5}}, r"ssm_cfg\.n_qk_heads is 5; expected a divisor of n_v_heads, 32"),
    ({"ssm_cfg": {"activation": "silu"}}, r"ssm_cfg\.activation is 'silu'; expected 'identity'"),
    ({"ssm_cfg": [64]}, "ssm_cfg is .64.; expected an object"),
])  # fmt: skip
def test_a_config_that_makes_no_llamba_is_refused_by_field_value_and_expectation(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=f"config.json of a llamba: {message}"):
        LlambaConfig.from_json(change(**changes))
