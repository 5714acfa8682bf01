"""Progress bars, drawn on stderr so that stdout stays readable for scripts; a library caller gets none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int], None]
"""Call it with the number of items done since the last call."""

ProgressFactory = Callable[[str, int], AbstractContextManager[Advance]]
"""Open a bar with a label and a total; 0 if the total is not known."""


@contextmanager
def silent(label: str, total: int) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda count: None


@contextmanager
def bar(label: str, total: int) -> Iterator[Advance]:
    """Show a bar with counts, percentage, time used and time left."""
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total or None)
        yield lambda count: progress.advance(task, count)
