"""`timetrial tasks`, `aggregators`, `graders`, `engines` and `plugins`: what is here, and from whom."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timetrial.catalog import Offer, PluginInfo, inspect_plugins, open_catalog
from timetrial.cli.options import print_json
from timetrial.engines import EngineSpec
from timetrial.spec import AggregatorSpec, Origin, RewardModelSpec

Row = dict[str, Any]  # Any: JSON-ready

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@json_option
def tasks(as_json: bool) -> None:
    """List the tasks."""
    rows = rows_of(open_catalog().tasks(), lambda spec: {"doc": spec.doc})
    print_json(rows) if as_json else print_rows("Tasks", rows)


@click.command()
@json_option
def aggregators(as_json: bool) -> None:
    """List the ways of choosing an answer, and the reward models that score for them."""
    catalog = open_catalog()
    ways = rows_of(catalog.aggregators(), _aggregator_row)
    reward_models = rows_of(catalog.reward_models(), _reward_model_row)
    if as_json:
        print_json({"aggregators": ways, "reward_models": reward_models})
        return
    print_rows("Aggregators", ways)
    print_rows("Reward models", reward_models)


@click.command()
@json_option
def graders(as_json: bool) -> None:
    """List the graders that can be asked for by name: to grade instead of a task's own, or for a second opinion."""
    rows = rows_of(open_catalog().graders(), lambda spec: {"doc": spec.doc})
    print_json(rows) if as_json else print_rows("Graders", rows)


@click.command()
@json_option
def engines(as_json: bool) -> None:
    """List the engines that can be timed beside the families' own, and which families each can run here."""
    catalog = open_catalog()
    families = list(catalog.models())
    rows = rows_of(catalog.engines(), lambda spec: _engine_row(spec, families))
    print_json(rows) if as_json else print_rows("Engines", rows)


@click.command()
@json_option
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


def _aggregator_row(spec: AggregatorSpec) -> Row:
    return {"needs_scores": spec.make().needs_scores, "doc": spec.doc}


def _engine_row(spec: EngineSpec, families: Sequence[str]) -> Row:
    able = [family for family in families if spec.why_not(family) is None]
    return {"families": ", ".join(able) or "none here", "doc": spec.doc}


def _reward_model_row(spec: RewardModelSpec) -> Row:
    return {"doc": spec.doc}


def rows_of(offers: Mapping[str, Offer[Any]], row: Callable[[Any], Row]) -> list[Row]:  # Any: specs of one kind
    """Return a table of what plugins offer: name, the cells `row` makes of a spec, and from whom it is."""
    return [
        {"name": name, **row(offer.spec), "from": _describe(offer.origin)} for name, offer in sorted(offers.items())
    ]


def _describe(origin: Origin) -> str:
    return f"{origin.distribution} {origin.version}"


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print a table under a title."""
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
