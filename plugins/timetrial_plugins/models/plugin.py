"""The Llama family as a plugin, and public checkpoints known by short names. Importing it imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timetrial.hookspec import hookimpl
from timetrial.protocol import CheckpointSpec, LoadOptions, Model, ModelSpec


@hookimpl
def timetrial_models() -> Sequence[ModelSpec]:
    """Offer the families."""
    return [
        ModelSpec(
            family="llama",
            load=_load_llama,
            doc="Llama 2 and 3: attention with rotary positions, in plain PyTorch.",
            recognises=_is_llama,
        )
    ]


@hookimpl
def timetrial_checkpoints() -> Sequence[CheckpointSpec]:
    """Offer the paper's teachers, with the temperatures it found best (its section 4)."""
    return [
        CheckpointSpec(
            name=f"llama-3.2-{size.lower()}",
            location=f"meta-llama/Llama-3.2-{size}-Instruct",
            doc=f"Meta's Llama-3.2-{size}-Instruct; accept its licence on the Hub first.",
            family="llama",
            temperature=temperature,
        )
        for size, temperature in (("1B", 0.6), ("3B", 0.8))
    ]


def _is_llama(config: Mapping[str, Any]) -> bool:  # Any: JSON
    return config.get("model_type") == "llama"


def _load_llama(folder: Path, options: LoadOptions) -> Model:
    from timetrial_plugins.engine.loading import load_model
    from timetrial_plugins.models.llama import Llama, LlamaConfig

    return load_model(folder, options, family="llama", build=lambda config: Llama(LlamaConfig.from_json(config)))
