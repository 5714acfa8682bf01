"""`timetrial models`: the checkpoints known by name and the families; `models show`: one of them in numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timetrial.blame import blaming
from timetrial.catalog import open_catalog
from timetrial.cli.listing import Row, json_option, print_rows, rows_of
from timetrial.cli.options import print_json
from timetrial.error import CheckpointError
from timetrial.loading import known_checkpoint, model_config
from timetrial.spec import Architecture, CheckpointSpec, ModelSpec
from timetrial_registry.records import Version
from timetrial_registry.registry import Registry


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the checkpoints known by name, those of your registry, and the model families."""
    if ctx.invoked_subcommand is not None:
        return
    catalog = open_catalog()
    families = rows_of(catalog.models(), _family_row)
    checkpoints = rows_of(catalog.checkpoints(), _checkpoint_row)
    registered = [_version_row(version) for version in Registry().versions()]
    if as_json:
        print_json({"checkpoints": checkpoints, "registry": registered, "families": families})
        return
    for row in checkpoints:
        row["location"] = _shown_location(row["location"])
    print_rows("Checkpoints", checkpoints)
    if registered:
        print_rows("Versions in the registry (`timetrial registry show NAME@VERSION`)", registered)
    print_rows("Families", families)
    click.echo("Any folder in a published layout or Hub id (org/name) of one of these families works as well.")


@models.command()
@click.argument("model")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="bfloat16",
    show_default=True,
    help="Number format of the weights.",
)
@json_option
def show(model: str, dtype: str, as_json: bool) -> None:
    """Describe a model: architecture, parameters, bytes of weights, of recurrent state and of keys and values.

    MODEL is a name that `timetrial models` lists, a version of the registry, a folder or a Hub id. Weights are never
    fetched.
    """
    catalog = open_catalog()
    known = known_checkpoint(model, catalog)
    config = model_config(model, known)
    spec = catalog.family_of(config)
    if spec.measure is None:
        raise CheckpointError(f"family {spec.family!r} cannot describe {model!r}: its plugin offers no `measure`")
    with blaming(f"describing {model!r} with family {spec.family!r}", catalog.models()[spec.family].origin):
        architecture = spec.measure(config, dtype)
    if as_json:
        about = {} if known is None else _checkpoint_row(known) | {"licence": known.licence}
        facts = dataclasses.asdict(architecture)
        print_json({"model": model, **about, "family": spec.family, "dtype": dtype, **facts})
        return
    _print_architecture(model, known, spec, dtype, architecture)


def _print_architecture(
    model: str, known: CheckpointSpec | None, spec: ModelSpec, dtype: str, architecture: Architecture
) -> None:
    _print_pairs(model, (*_provenance(model, known), *_figures(spec, dtype, architecture)))
    _print_pairs("shape", _flat(architecture.shape))


def _print_pairs(title: str, pairs: Iterable[tuple[str, object]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(str(value)))
    Console().print(table)
    click.echo()


def _flat(shape: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:  # Any: JSON
    for name, value in shape.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _provenance(model: str, known: CheckpointSpec | None) -> Iterator[tuple[str, str]]:
    if known is None:
        yield "source", model
        return
    yield "about", known.doc
    yield "source", _shown_location(known.location)
    if known.location is not None:
        yield "licence", known.licence or "not known here; see where it is published"
    if known.tokenizer is not None:
        yield "tokenizer", f"its own, else that of {known.tokenizer}"
    if known.temperature is not None:
        yield "temperature", str(known.temperature)


def _figures(spec: ModelSpec, dtype: str, architecture: Architecture) -> Iterator[tuple[str, str]]:
    yield "family", f"{spec.family}: {spec.doc}"
    yield "parameters", f"{architecture.parameters:,}, of them {architecture.linear_parameters:,} in matrix products"
    read = "" if architecture.step_weight_bytes == architecture.weight_bytes else (
        f"; a decode step reads {_bytes(architecture.step_weight_bytes)}"
    )  # fmt: skip
    yield "weights", f"{_bytes(architecture.weight_bytes)} in {dtype}{read}"
    yield "keys and values", _per(architecture.kv_bytes_per_token, "sequence and token")
    yield "recurrent state", _per(architecture.state_bytes, "sequence")


def _per(number: int, what: str) -> str:
    return f"{_bytes(number)} per {what}" if number else "none"


def _bytes(number: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit} ({number:,} bytes)"
    return f"{number:,} bytes"


def _family_row(spec: ModelSpec) -> Row:
    return {"doc": spec.doc}


def _checkpoint_row(spec: CheckpointSpec) -> Row:
    return {
        "family": spec.family,
        "location": spec.location,
        "temperature": spec.temperature,
        "doc": spec.doc,
    }


def _version_row(version: Version) -> Row:
    return {
        "name": version.ref,
        "aliases": ", ".join(version.aliases),
        "stage": version.stage,
        "digest": f"sha256:{version.digest[:12]}",
    }


def _shown_location(location: str | None) -> str:
    """The path of a shipped folder says nothing to a person."""
    if location is None:
        return "not published"
    return "shipped" if Path(location).is_absolute() else location
