"""The pair of config files of a hybrid: what it means, what is assumed, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from timetrial.error import CheckpointError
from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.layers import Llama3Scaling
from timetrial_registry.checkpoint import read_config

Json = dict[str, Any]
Published = Callable[..., Json]


def test_without_a_word_the_conventions_are_those_of_the_published_code(published: Published) -> None:
    first, second = (HybridConfig.from_json(published(kind)) for kind in ("mamba1", "mamba2"))
    assert (first.mixer, first.dt_bias_multiplicity, first.rope, first.rope_scaling) == ("mamba1", 2, "none", None)
    assert (second.mixer, second.dt_bias_multiplicity, second.rope) == ("mamba2", 1, "none")
    assert first.llama.rope_scaling is not None, "config.json has one; it is not used"


def test_a_checkpoint_can_say_by_which_conventions_it_was_trained(published: Published) -> None:
    said = {"dt_bias_multiplicity": 1, "rope_scaling": "llama3"}
    config = HybridConfig.from_json(published(timetrial=said))
    assert config.dt_bias_multiplicity == 1
    assert config.rope_scaling == Llama3Scaling(32.0, 1.0, 4.0, 32)


@pytest.mark.parametrize("given", [None, 96])
def test_d_inner_may_be_null_or_a_number(given: int | None, published: Published) -> None:
    config = HybridConfig.from_json(published(mamba={"d_inner": given}))
    assert (config.d_inner, config.num_heads, config.repeat, config.dt_rank) == (96, 6, 3, 6)


def test_unknown_keys_are_ignored_and_attention_layers_may_come_in_any_order(published: Published) -> None:
    odd = published(mamba={"attn_layers": [4, 1], "comment": "x"}, torch_dtype="bfloat16", pretraining_tp=1)
    assert HybridConfig.from_json(odd) == HybridConfig.from_json(published())


def test_the_sizes_of_mamba2_are_those_of_the_teachers_heads(published: Published) -> None:
    config = HybridConfig.from_json(published("mamba2"))
    assert (config.num_heads, config.d_state, config.window_shape, config.dt_rank) == (6, 16, (160, 3), 0)


@pytest.mark.parametrize("kind", ["mamba1", "mamba2"])
@pytest.mark.parametrize("said", [{}, {"dt_bias_multiplicity": 1, "rope_scaling": "llama3"}], ids=str)
def test_a_written_pair_is_read_back(kind: str, said: Json, published: Published, tmp_path: Path) -> None:
    config = HybridConfig.from_json(published(kind, timetrial=said))
    (tmp_path / "mamba_config.json").write_text(json.dumps(config.companion_json()))
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    assert HybridConfig.from_json(read_config(tmp_path)) == config


def test_options_of_the_layers_survive_writing(published: Published) -> None:
    ssm = {"expand": 1, "d_state": 8, "d_conv": 3, "dt_rank": 5}
    config = HybridConfig.from_json(published(mamba={"ssm_cfg": ssm}))
    assert (config.d_state, config.d_conv, config.dt_rank, config.num_heads) == (8, 3, 5, 12)
    assert config.companion_json()["ssm_cfg"] == ssm


def test_a_student_has_the_published_shape_of_its_teacher(published: Published) -> None:
    for kind in ("mamba1", "mamba2"):
        expected = HybridConfig.from_json(published(kind, timetrial={"dt_bias_multiplicity": 1}))
        assert HybridConfig.of_teacher(expected.llama, (1, 4), kind) == expected
    scaled = HybridConfig.of_teacher(expected.llama, (1, 4), rope="llama3")
    assert scaled.rope_scaling == expected.llama.rope_scaling


@pytest.mark.parametrize(("changes", "message"), [
    ({"mamba_config": None}, "needs a mamba_config.json"),
    ({"mamba": {"attn_layers": None}}, "attn_layers is None"),
    ({"mamba": {"attn_layers": [1, 5]}}, r"attn_layers is \[1, 5\].*0 to 4"),
    ({"mamba": {"attn_layers": [1, 1]}}, r"attn_layers is \[1, 1\]"),
    ({"mamba": {"n_layer": 6}}, "n_layer 6, config.json says num_hidden_layers 5"),
    ({"mamba": {"d_model": 64}}, "d_model 64, config.json says hidden_size 96"),
    ({"mamba": {"rms_norm_eps": 1e-6}}, "rms_norm_eps"),
    ({"mamba": {"d_xb": None}}, "d_xb is None; expected a positive whole number"),
    ({"mamba": {"d_xb": 40}}, "d_inner 96 must be a multiple of d_xb 40"),
    ({"mamba": {"d_inner": "wide"}}, "d_inner is 'wide'"),
    ({"mamba": {"ssm_cfg": {"expand": 1, "conv_bias": False}}}, "conv_bias False; these layers have True"),
    ({"mamba": {"ssm_cfg": {"expand": 1, "repeat_kv_before_conv": False}}}, "repeat_kv_before_conv False"),
    ({"mamba": {"ssm_cfg": [1]}}, r"ssm_cfg is \[1\]; expected an object"),
    ({"timetrial": 2}, "timetrial is 2; expected an object"),
    ({"mamba": {"ssm_cfg": {"ngroups": "six"}}}, "ngroups is 'six'"),
    ({"mamba": {"ssm_cfg": {"expand": 1, "ngroups": 5, "d_state": 16}}}, "5 groups of state size 16"),
    ({"mamba": {"ssm_cfg": {"expand": 1, "ngroups": 6, "d_state": 16, "rmsnorm": False}}}, "rmsnorm False"),
    ({"timetrial": {"dt_bias_multiplicity": 0}}, "dt_bias_multiplicity is 0"),
    ({"timetrial": {"rope_scaling": "yarn"}}, "rope_scaling is 'yarn'; expected 'none' or 'llama3'"),
    ({"timetrial": {"rope_scaling": "llama3"}, "rope_scaling": None}, "has no rope_scaling"),
    ({"hidden_act": "gelu"}, "hidden_act"),
])  # fmt: skip
def test_a_pair_that_cannot_be_honoured_is_refused(changes: Json, message: str, published: Published) -> None:
    with pytest.raises(CheckpointError, match=message):
        HybridConfig.from_json(published(**changes))
