"""From a family's module to what its steps consist of on a device: products, and the weights of operations.

Values are taken from the parameters once, so those must not change afterwards.
Legend: see the package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import count
from typing import Any, cast

import torch
from torch import Tensor, nn

from timetrial.error import UsageError
from timetrial_plugins.device.mixers import (
    AttentionMixer,
    LlambaMixer,
    LlambaReplayMixer,
    Mamba1Mixer,
    Mamba2Mixer,
    Mixer,
)
from timetrial_plugins.models import llamba, mamba_mixer
from timetrial_plugins.models.attention import GroupedQueryAttention
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.joint import JointLinear
from timetrial_plugins.models.layers import RMSNorm, SwiGLU
from timetrial_plugins.models.llama import Llama, LlamaLayer
from timetrial_plugins.models.mamba_in_llama import AttentionLayer, MambaInLlama
from timetrial_plugins.models.scan.convolution import side_by_side
from timetrial_plugins.models.scan.precision import widen
from timetrial_plugins.ops.step_ops import Convolution, LlambaWeights, Mamba1Weights, Mamba2Weights, NormWeights


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRecipe:
    """A mixer and an MLP, each behind a norm and around a residual."""

    norm: NormWeights
    mixer: Mixer
    mlp_norm: NormWeights
    mlp: SwiGLU


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A step from tokens to logits."""

    embedding: Tensor  # (V, D)
    layers: Sequence[LayerRecipe]
    norm: NormWeights
    head: JointLinear
    state_interval: int = 1
    """Steps between writes of recurrent states."""


@singledispatch
def recipe_of(module: CausalModule[Any]) -> Recipe | None:  # Any: each family has its own state
    """Return a module's recipe; None for a family that has none, whose own steps are then used."""
    return None


@recipe_of.register
def _(module: Llama) -> Recipe:
    layers = [
        _layer(layer, AttentionMixer(layer=index, **_attention(layer.self_attn)))
        for index, layer in enumerate(cast("Iterable[LlamaLayer]", module.model.layers))
    ]
    return _framed(module, layers)


@recipe_of.register
def _(module: MambaInLlama) -> Recipe:
    attention_layers, mamba_layers = count(), count()
    layers = []
    for layer in module.layers:
        if isinstance(layer, AttentionLayer):
            mixer: Mixer = AttentionMixer(layer=next(attention_layers), **_attention(layer.mha))
        else:
            mixer = _mamba(layer.mamba, next(mamba_layers))
        layers.append(_layer(layer, mixer))
    return _framed(module, layers)


@recipe_of.register
def _(module: llamba.Llamba) -> Recipe:
    return _recipe_of_llamba(module, LlambaMixer)


def replay_recipe(module: CausalModule[Any], interval: int) -> Recipe:  # Any: each family has its own state
    """Return a module's recipe with recurrent states that are written every `interval` steps.

    Raises:
        UsageError: the family has no such steps.
    """
    check_interval(module, interval)
    assert isinstance(module, llamba.Llamba)
    return replace(_recipe_of_llamba(module, LlambaReplayMixer), state_interval=interval)


def check_interval(module: CausalModule[Any], interval: int) -> None:  # Any: each family has its own state
    """Refuse to write the states of a family every so many steps that has no such steps.

    Raises:
        UsageError: it has none.
    """
    if interval > 1 and not isinstance(module, llamba.Llamba):
        raise UsageError(
            f"state interval is {interval}, and this model is a {type(module).__name__}: only a Llamba has steps that "
            "write their states every so many steps. Leave --state-interval out, or give Llambas a run of their own"
        )


def _recipe_of_llamba(module: llamba.Llamba, mixer: type[LlambaMixer]) -> Recipe:
    backbone = module.backbone
    return Recipe(
        embedding=backbone.embedding.weight.detach(),
        layers=[
            _layer(block, mixer(layer=index, **_llamba(block.mixer))) for index, block in enumerate(backbone.blocks)
        ],
        norm=_norm(backbone.final_layernorm),
        head=module.joint_head,
    )


def _framed(module: Llama | MambaInLlama, layers: Sequence[LayerRecipe]) -> Recipe:
    model = module.model
    return Recipe(
        embedding=model.embed_tokens.weight.detach(), layers=layers, norm=_norm(model.norm), head=module.joint_head
    )


def _layer(layer: Any, mixer: Mixer) -> LayerRecipe:  # Any: every family's layer has these three, in classes of its own
    return LayerRecipe(
        norm=_norm(layer.input_layernorm),
        mixer=mixer,
        mlp_norm=_norm(layer.post_attention_layernorm),
        mlp=layer.mlp,
    )


def _norm(norm: RMSNorm) -> NormWeights:
    return NormWeights(norm.weight.detach(), norm.epsilon, norm.scales_first)


def _attention(attention: GroupedQueryAttention) -> dict[str, Any]:  # Any: fields of AttentionMixer
    return {"head_dim": attention.head_dim, "joint_in": attention.joint_in, "joint_out": attention.joint_out}


def _llamba(mixer: llamba.LlambaMixer) -> dict[str, Any]:  # Any: fields of LlambaMixer
    gate_bias = None if mixer.z_bias is None else mixer.z_bias.detach()
    weights = LlambaWeights(_convolution(mixer.conv1d), mixer.D.detach(), gate_bias)
    return {"weights": weights, "joint_in": mixer.joint_in, "joint_out": mixer.joint_out}


def _mamba(mixer: mamba_mixer.MambaMixer, layer: int) -> Mamba1Mixer | Mamba2Mixer:
    if isinstance(mixer, mamba_mixer.Mamba1Mixer):
        return Mamba1Mixer(
            layer=layer,
            weights=_mamba1_weights(mixer),
            joint_in=mixer.joint_in,
            joint_delta=mixer.joint_delta,
            rank=mixer.dt_proj.in_features,
            joint_out=mixer.joint_out,
        )
    assert isinstance(mixer, mamba_mixer.Mamba2Mixer), f"{type(mixer).__name__} has no step on a device"
    return Mamba2Mixer(layer=layer, weights=_mamba2_weights(mixer), joint_in=mixer.joint_in, joint_out=mixer.joint_out)


@torch.no_grad()
def _mamba1_weights(mixer: mamba_mixer.Mamba1Mixer) -> Mamba1Weights:
    return Mamba1Weights(
        _convolution(mixer.conv1d),
        torch.unflatten(-widen(mixer.A_log).exp(), 0, (-1, mixer.head_width)).mT.contiguous().mT,
        mixer.dt_bias_multiplicity * widen(mixer.dt_proj.bias),
        mixer.D.detach(),
        mixer.repeat,
    )


@torch.no_grad()
def _mamba2_weights(mixer: mamba_mixer.Mamba2Mixer) -> Mamba2Weights:
    return Mamba2Weights(
        _convolution(mixer.conv1d),
        -widen(mixer.A_log).exp(),
        mixer.dt_bias_multiplicity * widen(mixer.dt_bias),
        mixer.D.detach(),
        mixer.norm.weight.detach(),
        mamba_mixer.NORM_EPSILON,
    )


def _convolution(convolution: nn.Conv1d) -> Convolution:
    bias = None if convolution.bias is None else convolution.bias.detach()
    return Convolution(side_by_side(convolution).detach(), bias)
