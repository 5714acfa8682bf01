"""`timetrial convert`: a hybrid's checkpoint for the other of the two codes it is published with."""

from __future__ import annotations

from pathlib import Path

import click

from timetrial.catalog import open_catalog
from timetrial.loading import locate_model


@click.command()
@click.argument("model")
@click.option(
    "--layout",
    type=click.Choice(["fused", "split"]),
    required=True,
    help="fused: as M1's code reads it. split: as MambaInLlama's.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new or empty folder.")
def convert(model: str, layout: str, out: Path) -> None:
    """Write a MambaInLlama checkpoint in its other published layout, bit by bit the same.

    MODEL is a name that `timetrial models` lists, a checkpoint folder or a Hub id. A checkpoint trained here becomes
    one that the authors' code computes the same function with.
    """
    from timetrial_plugins.models.saving import convert_checkpoint

    folder = locate_model(model, open_catalog()).folder
    convert_checkpoint(folder, out, layout="fused" if layout == "fused" else "split")
    click.echo(f"{out}: {model} in the {layout} layout")
