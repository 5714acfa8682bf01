"""Students initialised from a teacher: a Llama's weights carried into a MambaInLlama or a Llamba, tensor by tensor.

Each recipe returns where every tensor of the student came from, and what it draws is a function of the generator.
Facts: docs/models.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from timetrial.error import UsageError
from timetrial_plugins.models.filling import Filling, TensorOrigin, Value
from timetrial_plugins.models.initial import Fresh, constant, drawn_uniform
from timetrial_plugins.models.llama import Llama
from timetrial_plugins.models.llamba import OPEN_GATE, Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.mamba_in_llama import AttentionLayer, MambaInLlama

LlambaRecipe = Literal["mohawk", "attention"]

_KEPT = (
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
)
_OUT_PROJ_LAYERS = 24  # the published recipe scales out_proj as for this many layers, however many there are


def initialise_hybrid(student: MambaInLlama, teacher: Llama, generator: torch.Generator) -> tuple[TensorOrigin, ...]:
    """Fill a hybrid from the Llama it replaces, as published: x from V, B from K, C from Q, out_proj from O.

    The gate z, dt and the convolution are drawn; attention layers, MLPs, norms and embedding are copied.

    Raises:
        UsageError: the shapes of the two do not go together.
    """
    filling = Filling(student, teacher, student.config.llama.num_hidden_layers)
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        filling.put(name, filling.of_teacher(name))
    if student.lm_head is not None:
        filling.put("lm_head.weight", filling.head_of_teacher())
    width = student.config.llama.hidden_size
    for index, layer in enumerate(student.layers):
        prefix = f"model.layers.{index}."
        for name in _KEPT:
            filling.put(prefix + name, filling.of_teacher(prefix + name))
        query, key, value, output = (filling.of_teacher(f"{prefix}self_attn.{name}_proj.weight") for name in "qkvo")
        if isinstance(layer, AttentionLayer):
            filling.put_rows(f"{prefix}mha.in_proj.weight", {"q": query, "k": key, "v": value})
            filling.put(f"{prefix}mha.out_proj.weight", output)
            continue
        rows = student.config.part_rows
        z, dt = (drawn_uniform((rows[part], width), width**-0.5, generator) for part in ("z", "dt"))
        filling.put_rows(f"{prefix}mamba.in_proj.weight", {"z": z, "x": value, "B": key, "C": query, "dt": dt})
        filling.put(f"{prefix}mamba.out_proj.weight", output)
        for name, fresh in layer.mamba.fresh(generator).items():
            filling.put(f"{prefix}mamba.{name}", fresh)
    return filling.finish()


def initialise_llamba(
    student: Llamba, teacher: Llama, generator: torch.Generator, recipe: LlambaRecipe = "mohawk"
) -> tuple[TensorOrigin, ...]:
    """Fill a Llamba from a Llama: embedding, MLPs and norms copied, convolutions that copy, gates that are open.

    Args:
        student: may not have biases in its linear layers, for a Llama has none.
        teacher: the Llama.
        generator: where random numbers come from.
        recipe: "mohawk" draws the mixers' projections, as published; "attention" takes x from V, B from K, C from Q
            and out_proj from O, with a decay of one half and no skip.

    Raises:
        UsageError: the shapes of the two do not go together.
    """
    config = student.config
    if config.ssm_cfg.bias or config.mlp_cfg.bias:
        raise UsageError(
            "ssm_cfg or mlp_cfg has biases: such a Llamba cannot be initialised from a Llama, which has none"
        )
    filling = Filling(student, teacher, config.n_layer)
    filling.put_padded("backbone.embedding.weight", filling.of_teacher("model.embed_tokens.weight"))
    filling.put("backbone.final_layernorm.weight", filling.of_teacher("model.norm.weight"))
    if student.lm_head is not None:
        filling.put_padded("lm_head.weight", filling.head_of_teacher())
        if student.lm_head.bias is not None:
            filling.put("lm_head.bias", constant(student.lm_head.bias.shape, 0.0))
    for index in range(config.n_layer):
        prefix = f"backbone.layers.{index}."
        for name in _KEPT:
            filling.put(prefix + name, filling.of_teacher(f"model.layers.{index}.{name}"))
        parts, output = (
            _drawn_mixer(config, generator)
            if recipe == "mohawk"
            else _attention_mixer(config, filling, f"model.layers.{index}.self_attn.", teacher.config.head_dim)
        )
        filling.put_rows(f"{prefix}mixer.in_proj.weight", parts)
        filling.put(f"{prefix}mixer.out_proj.weight", output)
        for name, fresh in _open_mixer(config, skip=1.0 if recipe == "mohawk" else 0.0).items():
            filling.put(f"{prefix}mixer.{name}", fresh)
    return filling.finish()


def _drawn_mixer(config: LlambaConfig, generator: torch.Generator) -> tuple[Mapping[str, Fresh], Fresh]:
    """Return in_proj's parts and out_proj as the published recipe draws them; the gate's rows are zero."""
    width, inner, group = config.d_model, config.inner_width, config.group_width
    rows = {"x": inner, "B": group, "C": group, "z": inner, "A_log": config.ssm_cfg.n_v_heads}
    parts = {
        part: constant((count, width), 0.0) if part == "z" else drawn_uniform((count, width), width**-0.5, generator)
        for part, count in rows.items()
    }
    return parts, drawn_uniform((width, inner), (inner * _OUT_PROJ_LAYERS) ** -0.5, generator)


def _attention_mixer(
    config: LlambaConfig, filling: Filling, attention: str, head_dim: int
) -> tuple[Mapping[str, Value | Fresh], Value]:
    """Return in_proj's parts and out_proj from the teacher's attention; A_log = 0 is a decay of one half."""
    mixer, width, inner = config.ssm_cfg, config.d_model, config.inner_width
    parts: dict[str, Value | Fresh] = {
        "x": filling.heads_of_teacher(f"{attention}v_proj.weight", head_dim, mixer.n_v_heads, inner // mixer.n_v_heads),
        "B": filling.heads_of_teacher(f"{attention}k_proj.weight", head_dim, mixer.n_qk_heads, mixer.d_state),
        "C": filling.heads_of_teacher(f"{attention}q_proj.weight", head_dim, mixer.n_qk_heads, mixer.d_state),
        "z": constant((inner, width), 0.0),
        "A_log": constant((mixer.n_v_heads, width), 0.0),
    }
    return parts, filling.of_teacher(f"{attention}o_proj.weight")


def _open_mixer(config: LlambaConfig, skip: float) -> dict[str, Fresh]:
    """Return the parameters with which convolution and gate of a mixer change nothing."""
    identity = constant((config.conv_channels, 1, config.ssm_cfg.d_conv), 0.0)
    identity.value[:, :, -1] = 1
    opened = {
        "conv1d.weight": identity,
        "z_bias": constant((config.inner_width,), OPEN_GATE),
        "D": constant((config.ssm_cfg.n_v_heads,), skip),
    }
    return opened | ({"conv1d.bias": constant((config.conv_channels,), 0.0)} if config.ssm_cfg.conv_bias else {})
