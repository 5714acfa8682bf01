"""Students as recipes describe them: their shape given a teacher's, and their first weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from timetrial.error import UsageError
from timetrial_distillation.objectives.stage import Model
from timetrial_plugins.models.hybrid_config import HybridConfig, Mixer
from timetrial_plugins.models.llama import Llama
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_plugins.models.students import initialise_hybrid, initialise_llamba


@dataclass(frozen=True, kw_only=True, slots=True)
class LlambaShape:
    """A Llamba with the teacher's width, layers, heads and MLPs."""

    state_size: int
    """N, of each head."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HybridShape:
    """A MambaInLlama: the teacher with most attention layers replaced."""

    attention_layers: tuple[int, ...]
    """The layers that keep attention, from 0."""
    mixer: Mixer = "mamba1"


Shape = LlambaShape | HybridShape


def empty_student(shape: Shape, teacher: Model) -> Llamba | MambaInLlama:
    """Return the student of a teacher without its first weights.

    Raises:
        UsageError: the teacher is no Llama, or has too few layers.
    """
    if not isinstance(teacher, Llama):
        raise UsageError(
            f"the teacher is a {type(teacher).__name__}: students of these recipes are made of a Llama's layers"
        )
    if isinstance(shape, LlambaShape):
        return Llamba(_llamba_config(shape, teacher))
    num_layers = teacher.config.num_hidden_layers
    beyond = [layer for layer in shape.attention_layers if layer >= num_layers]
    if beyond:
        raise UsageError(
            f"the recipe keeps attention in layer {beyond[0]}, and the teacher has {num_layers} layers: it is a recipe"
            " for another teacher"
        )
    return MambaInLlama(HybridConfig.of_teacher(teacher.config, shape.attention_layers, shape.mixer))


def initialised_student(shape: Shape, teacher: Model, seed: int) -> Llamba | MambaInLlama:
    """Return the student of a teacher with its first weights in float32, a function of the seed.

    Raises:
        UsageError: the teacher is no Llama, or the shapes do not go together.
    """
    student = empty_student(shape, teacher)
    assert isinstance(teacher, Llama), "or it would have been refused"
    generator = torch.Generator().manual_seed(seed)
    if isinstance(student, Llamba):
        initialise_llamba(student, teacher, generator)
    else:
        initialise_hybrid(student, teacher, generator)
    return student


def _llamba_config(shape: LlambaShape, teacher: Llama) -> LlambaConfig:
    llama = teacher.config
    mixer = {
        "d_state": shape.state_size,
        "n_v_heads": llama.num_attention_heads,
        "n_qk_heads": llama.num_attention_heads,
    }
    return LlambaConfig.from_json(
        {
            "vocab_size": llama.vocab_size,
            "d_model": llama.hidden_size,
            "n_layer": llama.num_hidden_layers,
            "tie_embeddings": llama.tie_word_embeddings,
            "norm_epsilon": llama.rms_norm_eps,
            "mlp_cfg": {"intermediate_size": llama.intermediate_size},
            "ssm_cfg": mixer,
        }
    )
