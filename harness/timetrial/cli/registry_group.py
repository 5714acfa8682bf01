"""`timetrial registry`: the group of its sub-commands."""

from __future__ import annotations

import click

from timetrial.cli.registry_exchange import export_, import_
from timetrial.cli.registry_read import lineage, list_, show
from timetrial.cli.registry_upkeep import gc, verify
from timetrial.cli.registry_write import alias, delete, note, publish, tag


@click.group()
def registry() -> None:
    """Checkpoints with an identity, a history and their results.

    The registry is the folder $TIMETRIAL_REGISTRY, else timetrial/registry where the system keeps a user's data
    ($XDG_DATA_HOME or ~/.local/share; ~/Library/Application Support on macOS; %LOCALAPPDATA% on Windows). The first
    publication makes it. What plugins ship is shown with it, and cannot be changed.

    REF is NAME (its latest version), NAME@3, NAME@ALIAS, NAME@latest, sha256:FIRST-DIGITS or models:/NAME/3.
    """


for command in (list_, show, publish, alias, lineage, tag, note, delete, verify, gc, export_, import_):
    registry.add_command(command)
