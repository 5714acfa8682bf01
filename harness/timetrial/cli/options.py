"""Option types shared by the sub-commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from rich.console import Console

from timetrial.report.table import Table, to_rich

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


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


def options(*decorators: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    """Join several options into one decorator, so that commands can share them."""

    def decorate(command: Decorated) -> Decorated:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def grader_options(*, own: str, none: str) -> Callable[[Decorated], Decorated]:
    """Return the options that name graders, their defaults said in words."""
    return options(
        click.option("--grader", metavar="NAME", help=f"Who grades (`timetrial graders`). [default: {own}]"),
        click.option(
            "--second-opinion", metavar="NAME", help=f"Grader to ask where that one cannot tell. [default: {none}]"
        ),
    )


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
    """Print JSON on stdout, for scripts. Half a surrogate pair, which no encoding takes, stays escaped."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))
