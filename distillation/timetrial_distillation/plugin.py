"""The distillation package as a plugin of the harness: it adds `timetrial distill`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from timetrial.hookspec import hookimpl
from timetrial.spec import CommandSpec

if TYPE_CHECKING:
    import click


@hookimpl
def timetrial_commands() -> Sequence[CommandSpec]:
    """Offer `timetrial distill`."""
    return [CommandSpec(name="distill", load=_load_distill, doc="Train models by named recipes.")]


def _load_distill() -> click.Command:
    from timetrial_distillation.commands import distill

    return distill
