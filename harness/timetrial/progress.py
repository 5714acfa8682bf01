"""Progress bars, drawn on stderr so that stdout stays readable for scripts; a library caller gets none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
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
    with _shown(label, total, MofNCompleteColumn()) as advance:
        yield advance


@contextmanager
def byte_bar(label: str, total: int) -> Iterator[Advance]:
    """Show a bar over bytes, with their number in units that can be read, percentage, time used and time left."""
    with _shown(label, total, DownloadColumn()) as advance:
        yield advance


@contextmanager
def _shown(label: str, total: int, counter: ProgressColumn) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=None),
        counter,
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total or None)
        yield lambda count: progress.advance(task, count)
