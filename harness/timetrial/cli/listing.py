"""`timetrial models`, `tasks`, `aggregators` and `plugins`: what is here, and from whom."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timetrial.catalog import Offer, inspect_plugins, open_catalog
from timetrial.cli.options import print_json
from timetrial.protocol import AggregatorSpec, CheckpointSpec, ModelSpec, Origin, PluginInfo, RewardModelSpec

Row = dict[str, Any]  # Any: JSON-ready

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_json
def models(as_json: bool) -> None:
    """List the checkpoints known by name, and the model families."""
    catalog = open_catalog()
    families = _rows(catalog.models(), _family_row)
    checkpoints = _rows(catalog.checkpoints(), _checkpoint_row)
    if not as_json:  # the path of a shipped folder says nothing to a person
        for row in checkpoints:
            row["location"] = "shipped" if Path(row["location"]).is_absolute() else row["location"]
    if as_json:
        print_json({"checkpoints": checkpoints, "families": families})
        return
    _print("Checkpoints", checkpoints)
    _print("Families", families)
    click.echo("Any folder in a published layout or Hub id (org/name) of one of these families works as well.")


@click.command()
@_json
def tasks(as_json: bool) -> None:
    """List the tasks."""
    rows = _rows(open_catalog().tasks(), lambda spec: {"doc": spec.doc})
    print_json(rows) if as_json else _print("Tasks", rows)


@click.command()
@_json
def aggregators(as_json: bool) -> None:
    """List the ways of choosing an answer, and the reward models that score for them."""
    catalog = open_catalog()
    ways = _rows(catalog.aggregators(), _aggregator_row)
    reward_models = _rows(catalog.reward_models(), _reward_model_row)
    if as_json:
        print_json({"aggregators": ways, "reward_models": reward_models})
        return
    _print("Aggregators", ways)
    _print("Reward models", reward_models)


@click.command()
@_json
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """Show every plugin: its distribution and version, what it offers, its load time, and its error if it has one.

    Exits with 3 if a plugin cannot be used.
    """
    infos = inspect_plugins()
    if as_json:
        print_json([dataclasses.asdict(info) for info in infos])
    else:
        _print_plugins(infos)
    if any(info.error for info in infos):
        ctx.exit(3)


def _family_row(spec: ModelSpec) -> Row:
    return {"doc": spec.doc}


def _checkpoint_row(spec: CheckpointSpec) -> Row:
    return {
        "family": spec.family,
        "location": spec.location,
        "temperature": spec.temperature,
        "doc": spec.doc,
    }


def _aggregator_row(spec: AggregatorSpec) -> Row:
    return {"needs_scores": spec.make().needs_scores, "doc": spec.doc}


def _reward_model_row(spec: RewardModelSpec) -> Row:
    return {"doc": spec.doc}


def _rows(offers: Mapping[str, Offer[Any]], row: Callable[[Any], Row]) -> list[Row]:  # Any: specs of one kind
    return [
        {"name": name, **row(offer.spec), "from": _describe(offer.origin)} for name, offer in sorted(offers.items())
    ]


def _describe(origin: Origin) -> str:
    return f"{origin.distribution} {origin.version}"


def _print(title: str, rows: Sequence[Row]) -> None:
    if not rows:
        click.echo(f"{title}: none installed.")
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in rows[0]:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    Console().print(table)
    click.echo()


def _print_plugins(infos: Sequence[PluginInfo]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("plugin", "distribution", "load ms", "offers"):
        table.add_column(column, overflow="fold", no_wrap=column == "plugin")
    for info in infos:
        state = "disabled" if info.is_disabled else "; ".join(info.offers)
        shown = Text(f"error: {info.error}", style="red") if info.error else Text(state)
        table.add_row(info.origin.plugin, _describe(info.origin), f"{info.load_s * 1e3:.1f}", shown)
    Console().print(table)
