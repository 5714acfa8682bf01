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
        CheckpointSpec(
            name="nutshell-llama",
            location=str(Path(__file__).parent / "llama"),
            doc="A Llama of 1.7 million parameters, trained on the nutshell task by this package.",
            family="llama",
            temperature=0.8,
            licence="Apache-2.0",
        )
    ]
