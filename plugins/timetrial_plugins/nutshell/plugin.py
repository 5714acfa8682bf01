"""The nutshell's models as a plugin: the checkpoints that are shipped with the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from timetrial.hookspec import hookimpl
from timetrial.spec import CheckpointSpec


@hookimpl
def timetrial_checkpoints() -> Sequence[CheckpointSpec]:
    """Offer the shipped models by name."""
    return [
        _shipped("llama", "llama", "A Llama of 1.7 million parameters, trained on the nutshell task by this package."),
        _shipped("llamba", "llamba", "A Llamba of 2 million parameters, distilled from nutshell-llama."),
        _shipped(
            "mamba-in-llama",
            "mamba_in_llama",
            "A MambaInLlama of 1.8 million parameters, distilled from nutshell-llama.",
        ),
    ]


def _shipped(name: str, family: str, doc: str) -> CheckpointSpec:
    return CheckpointSpec(
        name=f"nutshell-{name}",
        location=str(Path(__file__).parent / family),
        doc=doc,
        family=family,
        temperature=0.8,
        licence="Apache-2.0",
    )
