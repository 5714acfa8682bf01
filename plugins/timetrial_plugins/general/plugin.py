"""Offers `timetrial general`. Importing it costs nothing; lm-eval is imported when the command runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import timetrial

if TYPE_CHECKING:
    import click


@timetrial.hookimpl
def timetrial_commands() -> Sequence[timetrial.CommandSpec]:
    """Return the command."""
    return [
        timetrial.CommandSpec(
            name="general", load=_general, doc="Run lm-eval's general benchmarks (mmlu, arc_challenge, ...) on models."
        )
    ]


def _general() -> click.Command:
    from timetrial_plugins.general.command import general

    return general
