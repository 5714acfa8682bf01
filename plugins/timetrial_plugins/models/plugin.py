"""The model families as a plugin, and public checkpoints known by short names. Importing it imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetrial.clock import Clock
from timetrial.hookspec import hookimpl
from timetrial.protocol import Model
from timetrial.rates import MachineRates
from timetrial.spec import Architecture, CheckpointSpec, CommandSpec, LoadOptions, ModelSpec
from timetrial_plugins.models.configurations import named_configurations

if TYPE_CHECKING:
    import click

Json = Mapping[str, Any]  # Any: JSON

# The temperatures that the paper found best for its models of either size (its section 4).
_AT_1B, _AT_3B = 0.6, 0.8

_LLAMA_LICENCE = "Llama 3.2 Community License"
_LLAMBA_DOC = (
    "Cartesia's Llamba-{size}, distilled for general use from {teacher}. It is not the model of the paper, whose own "
    "Llambas were distilled on mathematics and are not published."
)
# Hub id, what it is, temperature
_HYBRIDS = (
    ("JunxiongWang/MambaInLlama3B_Distill_MATH", "Mamba-1 hybrid of Llama-3.2-3B, distilled on mathematics", _AT_3B),
    ("JunxiongWang/MambaInLlama3B_SFT_MATH", "Mamba-1 hybrid of Llama-3.2-3B, fine-tuned on mathematics", _AT_3B),
    ("JunxiongWang/M1-3B-SFT", "M1, a Mamba-1 hybrid of Llama-3.2-3B, fine-tuned on long reasoning", None),
    ("togethercomputer/M1-3B", "M1, a Mamba-1 hybrid of Llama-3.2-3B, after reinforcement learning", None),
    ("JunxiongWang/Llama3.2-Mamba-3B-distill", "half-attention Mamba-1 hybrid of Llama-3.2-3B", None),
    ("JunxiongWang/Llama3.2-Mamba-3B-dpo", "half-attention Mamba-1 hybrid of Llama-3.2-3B, after DPO", None),
    ("JunxiongWang/Llama3.2-Mamba2-3B-distill", "half-attention Mamba-2 hybrid of Llama-3.2-3B", None),
    ("JunxiongWang/Llama3.2-Mamba2-3B-dpo", "half-attention Mamba-2 hybrid of Llama-3.2-3B, after DPO", None),
    ("JunxiongWang/Llama3.1-Mamba-8B-distill", "half-attention Mamba-1 hybrid of Llama-3.1-8B", None),
    ("JunxiongWang/Llama3.1-Mamba2-8B-distill", "half-attention Mamba-2 hybrid of Llama-3.1-8B", None),
    ("JunxiongWang/MambaInLlama_0_50", "Mamba-1 hybrid of Llama-3-8B, attention in a half of the layers", None),
    ("JunxiongWang/MambaInLlama_0_75", "Mamba-1 hybrid of Llama-3-8B, attention in a quarter of the layers", None),
    ("JunxiongWang/MambaInLlama_0_875", "Mamba-1 hybrid of Llama-3-8B, attention in an eighth of the layers", None),
    ("JunxiongWang/Mamba2InLlama_0_50", "Mamba-2 hybrid of Llama-3-8B, attention in a half of the layers", None),
    ("JunxiongWang/Mamba2InLlama_0_75", "Mamba-2 hybrid of Llama-3-8B, attention in a quarter of the layers", None),
    ("JunxiongWang/Mamba2InLlama_0_875", "Mamba-2 hybrid of Llama-3-8B, attention in an eighth of the layers", None),
    ("JunxiongWang/Mamba2InLlama_1", "Llama-3-8B with Mamba-2 in all layers, no attention left", None),
    ("JunxiongWang/mamba_0_5_dpo_ep1", "half-attention Mamba-1 hybrid of Zephyr-7B, after DPO", None),
)


@hookimpl
def timetrial_models() -> Sequence[ModelSpec]:
    """Offer the families."""
    docs = {
        "llama": "Llama 2 and 3: attention with rotary positions, in plain PyTorch.",
        "llamba": "Llamba: Llama's blocks with discrete Mamba-2 in place of attention, in plain PyTorch.",
        "mamba_in_llama": "MambaInLlama and M1: hybrids of attention with Mamba-1 or Mamba-2, in plain PyTorch.",
    }
    recognisers = {"llama": _is_llama, "llamba": _is_llamba, "mamba_in_llama": _is_hybrid}
    return [
        ModelSpec(
            family=family,
            load=partial(_load, family),
            doc=doc,
            recognises=recognisers[family],
            measure=partial(_measure, family),
            build_random=partial(_build_random, family),
            measure_rates=_measure_rates,
        )
        for family, doc in docs.items()
    ]


@hookimpl
def timetrial_checkpoints() -> Sequence[CheckpointSpec]:
    """Offer the paper's teachers, what is published of its students and their relatives, and shapes without weights."""
    configs = {shape.name: shape.config for shape in named_configurations()}
    teachers = [
        CheckpointSpec(
            name=f"llama-3.2-{size.lower()}",
            location=f"meta-llama/Llama-3.2-{size}-Instruct",
            doc=f"Meta's Llama-3.2-{size}-Instruct; accept its licence on the Hub first.",
            family="llama",
            temperature=temperature,
            config=configs[f"llama-3.2-{size.lower()}"],
            licence=_LLAMA_LICENCE,
        )
        for size, temperature in (("1B", _AT_1B), ("3B", _AT_3B))
    ]
    llambas = [
        CheckpointSpec(
            name=f"llamba-{size.lower()}",
            location=f"cartesia-ai/Llamba-{size}",
            doc=_LLAMBA_DOC.format(size=size, teacher=teacher),
            family="llamba",
            # The published shape of the 1B is known; the others are read from where they are published.
            config=configs["llamba-1b"] if size == "1B" else None,
            tokenizer=f"meta-llama/{teacher}-Instruct",
        )
        for size, teacher in (("1B", "Llama-3.2-1B"), ("3B", "Llama-3.2-3B"), ("8B", "Llama-3.1-8B"))
    ]
    hybrids = [
        CheckpointSpec(
            name=hub_id.partition("/")[2].lower().replace("_", "-"),
            location=hub_id,
            doc=f"{doc[0].upper()}{doc[1:]} (MambaInLlama).",
            family="mamba_in_llama",
            temperature=temperature,
            licence="MIT" if hub_id == "togethercomputer/M1-3B" else None,
        )
        for hub_id, doc, temperature in _HYBRIDS
    ]
    published = [*teachers, *llambas, *hybrids]
    names = {spec.name for spec in published}
    shapes = [
        CheckpointSpec(name=shape.name, location=None, doc=shape.doc, family=shape.family, config=shape.config)
        for shape in named_configurations()
        if shape.name not in names
    ]
    return [*published, *shapes]


@hookimpl
def timetrial_commands() -> Sequence[CommandSpec]:
    """Offer `timetrial convert`."""
    return [CommandSpec(name="convert", load=_convert, doc="Write a MambaInLlama checkpoint in its other layout.")]


def _convert() -> click.Command:
    from timetrial_plugins.models.commands import convert

    return convert


def _is_llama(config: Json) -> bool:
    return config.get("model_type") == "llama" and not _is_hybrid(config)


def _is_llamba(config: Json) -> bool:
    return config.get("model_type") == "llamba"


def _is_hybrid(config: Json) -> bool:
    """Tell a hybrid by the mamba_config.json beside config.json, which is that of the Llama it was made of."""
    return "mamba_config" in config


def _measure(family: str, config: Json, dtype: str) -> Architecture:
    from timetrial_plugins.models.architecture import measure

    return measure(family, config, dtype)


def _load(family: str, folder: Path, options: LoadOptions) -> Model:
    from timetrial_plugins.engine.loading import load_model
    from timetrial_plugins.models.families import BUILDERS

    return load_model(folder, options, family=family, build=BUILDERS[family])


def _build_random(family: str, config: Json, options: LoadOptions) -> Model:
    from timetrial_plugins.engine.random_weights import build_random
    from timetrial_plugins.models.families import BUILDERS

    return build_random(config, options, family=family, build=BUILDERS[family])


def _measure_rates(options: LoadOptions, clock: Clock) -> MachineRates:
    from timetrial_plugins.engine.roofline import measure_rates

    return measure_rates(options, clock)
