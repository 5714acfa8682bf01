"""Option types shared by the sub-commands."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console

from timetrial.report.table import Table, to_rich


class CommaList(click.ParamType[tuple[Any, ...]]):  # Any: the items' type
    """A comma-separated list, each item of one type; an empty item is refused."""

    def __init__(self, item: click.ParamType[Any], metavar: str) -> None:
        self.name = metavar
        self._item = item

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:  # Any: the items' type
        """Split and convert."""
        if isinstance(value, tuple):
            return value
        items = [item.strip() for item in str(value).split(",")]
        if not all(items):
            self.fail(f"{value!r} has an empty item: expected values separated by single commas", param, ctx)
        return tuple(self._item.convert(item, param, ctx) for item in items)


NAMES = CommaList(click.STRING, "NAME,...")
NUMBERS = CommaList(click.FLOAT, "NUMBER,...")
INTEGERS = CommaList(click.INT, "INTEGER,...")


def flatten(groups: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:  # Any: names or numbers
    """Join the values of an option given several times, each time with a comma list."""
    return tuple(item for group in groups for item in group)


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables on stdout: as wide as the terminal, or wide enough for a file."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, 120))
    for table in tables:
        console.print(to_rich(table))


def print_json(data: Any) -> None:  # Any: JSON-ready
    """Print JSON on stdout, for scripts."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))
