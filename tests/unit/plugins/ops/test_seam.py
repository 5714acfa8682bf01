"""Between a layer's own projections the operations do what the layer does in a step: they can take its place."""

from typing import Any

import pytest
import torch

from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.step_ops import Convolution, LlambaWeights, Mamba1Weights, Mamba2Weights, Memory

ROWS, STEPS = 3, 3
LLAMBA: dict[str, Any] = {
    "vocab_size": 32,
    "d_model": 48,
    "n_layer": 1,
    "tie_embeddings": True,
    "mlp_cfg": {"intermediate_size": 8, "bias": False, "act_fn": "silu"},
    "ssm_cfg": {"d_state": 16, "n_v_heads": 6, "n_qk_heads": 3, "expand": 1},
}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 32,
    "hidden_size": 96,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
}
HYBRID = {"d_model": 96, "d_xb": 32, "intermediate_size": 8, "n_layer": 1, "attn_layers": []}
SSM = {"mamba1": {"expand": 1}, "mamba2": {"expand": 1, "ngroups": 6, "d_state": 16}}


@pytest.fixture(params=["triton", "native", "reference"])
def ops(request):
    return REFERENCE if request.param == "reference" else request.getfixturevalue(request.param)


def llamba():
    module = randomised(Llamba(LlambaConfig.from_json(LLAMBA)))
    return module, module.backbone.layers[0].mixer


def hybrid(kind):
    config = HybridConfig.from_json(LLAMA | {"mamba_config": HYBRID | {"ssm_cfg": SSM[kind]}})
    module = randomised(MambaInLlama(config))
    return module, module.model.layers[0].mamba


def randomised(module):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


def check(module, mixer, mixed):
    """`mixed` maps in_proj's output and a memory to out_proj's input."""
    ours, theirs = (Memory(*(module.init_state(ROWS, 8).buffers[name][0] for name in ("conv", "ssm"))) for _ in "ab")
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        for _ in range(STEPS):
            hidden = torch.randn(ROWS, mixer.in_proj.in_features, generator=generator)
            expected = mixer.step(hidden.clone(), theirs)
            found = mixer.out_proj(mixed(mixer.in_proj(hidden), ours))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for written, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(written, reference, rtol=1e-5, atol=1e-6)


def convolution(mixer):
    return Convolution(mixer.conv1d.weight[:, 0], mixer.conv1d.bias)


def test_a_llamba_mixer(ops):
    module, mixer = llamba()
    weights = LlambaWeights(convolution(mixer), mixer.D, mixer.z_bias)
    check(module, mixer, lambda projected, memory: ops.llamba(projected, weights, memory))


def test_a_mamba1_mixer(ops):
    module, mixer = hybrid("mamba1")
    rank = mixer.dt_proj.in_features
    weights = Mamba1Weights(
        convolution(mixer),
        torch.unflatten(-mixer.A_log.exp(), 0, (-1, mixer.head_width)),
        mixer.dt_bias_multiplicity * mixer.dt_proj.bias,
        mixer.D,
        mixer.repeat,
    )

    def mixed(projected, memory):
        delta = projected[:, -rank:] @ mixer.dt_proj.weight.T
        return ops.mamba1(projected, delta, weights, memory)

    check(module, mixer, mixed)


def test_a_mamba2_mixer(ops):
    module, mixer = hybrid("mamba2")
    weights = Mamba2Weights(
        convolution(mixer),
        -mixer.A_log.exp(),
        mixer.dt_bias_multiplicity * mixer.dt_bias,
        mixer.D,
        mixer.norm.weight,
        1e-5,
    )
    check(module, mixer, lambda projected, memory: ops.mamba2(projected, weights, memory))
