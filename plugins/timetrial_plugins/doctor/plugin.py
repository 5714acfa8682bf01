"""Offers `timetrial doctor`. Importing it costs nothing."""

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
            name="doctor", load=_doctor, doc="Show devices, packages, and which kernels are active and why not."
        )
    ]


def _doctor() -> click.Command:
    from timetrial_plugins.doctor.command import doctor

    return doctor
