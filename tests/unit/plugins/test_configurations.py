"""The named configurations have the published sizes, without a weight in memory."""

from __future__ import annotations

import json

import pytest
import torch

from timetrial_plugins.models.configurations import NamedConfiguration, named_configurations
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.hybrid_config import COMPANION, HybridConfig
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_plugins.models.plugin import timetrial_models

CONFIGURATIONS = {configuration.name: configuration for configuration in named_configurations()}


def build(name: str) -> CausalModule:
    configuration = CONFIGURATIONS[name]
    with torch.device("meta"):
        return BUILDERS[configuration.family](configuration.config).to(torch.bfloat16)


# parameters, parameters of matrix products, bytes of keys and values a token, of state in bfloat16 and in float32
@pytest.mark.parametrize(("name", "parameters", "linear", "kv", "small_state", "state"), [
    ("llama-3.2-1b", 1_235_814_400, 1_235_746_816, 32_768, 0, 0),
    ("llama-3.2-3b", 3_212_749_824, 3_212_574_720, 114_688, 0, 0),
    ("llamba-1b", 1_405_159_936, 1_404_567_552, 0, 4_980_736, 9_175_040),
    ("llamba-4b", 3_832_753_824, 3_831_201_792, 0, 24_084_480, 46_104_576),
    ("mamba-in-llama-1b", 1_293_002_752, 1_292_369_920, 8_192, 983_040, 1_769_472),
    ("mamba-in-llama-3b", 3_447_874_560, 3_446_145_024, 24_576, 2_703_360, 4_866_048),
])  # fmt: skip
def test_a_model_of_the_paper_has_the_published_size(
    name: str, parameters: int, linear: int, kv: int, small_state: int, state: int
) -> None:
    module = build(name)
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    footprint = module.footprint
    assert (footprint.weight_bytes, footprint.linear_parameters) == (2 * parameters, linear)
    assert (footprint.kv_bytes_per_token, footprint.state_bytes) == (kv, state)
    if isinstance(module, Llamba | MambaInLlama):
        module.state_dtype = torch.bfloat16
        assert module.footprint.state_bytes == small_state


def test_the_8b_llama_has_the_published_size_and_its_embedding_costs_no_bandwidth() -> None:
    module = build("llama-3.1-8b")
    assert sum(parameter.numel() for parameter in module.parameters()) == 8_030_261_248
    assert module.footprint.weight_bytes == 2 * (8_030_261_248 - 128256 * 4096)


@pytest.mark.parametrize(("size", "in_proj", "conv", "states"), [
    ("1b", (5152, 2048), (3072, 1, 4), 4),
    ("3b", (8216, 3072), (5120, 1, 4), 8),
])  # fmt: skip
def test_a_mamba2_hybrid_has_the_published_shapes_and_a_larger_state(
    size: str, in_proj: tuple[int, ...], conv: tuple[int, ...], states: int
) -> None:
    first, second = build(f"mamba-in-llama-{size}"), build(f"mamba2-in-llama-{size}")
    shapes = {name: tuple(tensor.shape) for name, tensor in second.state_dict().items()}
    assert shapes["model.layers.0.mamba.in_proj.weight"] == in_proj
    assert shapes["model.layers.0.mamba.conv1d.weight"] == conv
    assert isinstance(first, MambaInLlama) and isinstance(second, MambaInLlama)
    elements = [torch.Size(module.config.state_shape).numel() for module in (first, second)]
    assert elements[1] == states * elements[0]


@pytest.mark.parametrize(("size", "in_proj", "fused_attention"), [
    ("1b", (5248, 2048), (3072, 2048)),
    ("3b", (8384, 3072), (5120, 3072)),
])  # fmt: skip
def test_a_mamba1_hybrid_has_the_published_shapes(
    size: str, in_proj: tuple[int, ...], fused_attention: tuple[int, ...]
) -> None:
    module = build(f"mamba-in-llama-{size}")
    assert isinstance(module, MambaInLlama)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    first = module.config.attn_layers[0]
    assert shapes["model.layers.0.mamba.in_proj.weight"] == in_proj
    assert shapes[f"model.layers.{first}.mha.in_proj.weight"] == fused_attention


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=lambda c: c.name)
def test_each_configuration_is_json_and_of_exactly_one_family(configuration: NamedConfiguration) -> None:
    config = json.loads(json.dumps(configuration.config))
    recognised = [spec.family for spec in timetrial_models() if spec.recognises(config)]
    assert recognised == [configuration.family]


@pytest.mark.parametrize("name", ["mamba-in-llama-1b", "mamba-in-llama-3b", "mamba2-in-llama-1b", "mamba2-in-llama-3b"])
def test_a_student_of_the_named_llama_has_the_named_shape(name: str) -> None:
    hybrid = HybridConfig.from_json(CONFIGURATIONS[name].config)
    student = HybridConfig.of_teacher(hybrid.llama, hybrid.attn_layers, hybrid.mixer)
    assert student.companion_json() == {**CONFIGURATIONS[name].config[COMPANION], "d_inner": hybrid.d_inner}


def test_names_are_unique() -> None:
    assert len(CONFIGURATIONS) == len(named_configurations())
