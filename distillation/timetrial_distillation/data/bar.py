"""The progress bar of a preparation, on stderr: documents, documents a second, tokens, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from timetrial.clock import Clock
from timetrial_distillation.data.prepare import PrepareProgress


@contextmanager
def preparing_bar(
    clock: Clock, limit: int | None, num_records: int | None
) -> Iterator[Callable[[PrepareProgress], None]]:
    """Show a bar from the first call of what is yielded; it is full at `limit` documents, or at the last record.

    What an earlier run has done counts as done, and not towards the rate.
    """
    columns = (
        TextColumn("preparing"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("", total=limit or num_records, counts="")
    first: list[tuple[float, int]] = []

    def show(progress: PrepareProgress) -> None:
        now_s = clock.now()
        if not first:
            bar.start()  # not before: finished shards are verified first, and older rich shows one bar at a time
            first.append((now_s, progress.num_documents))
        start_s, earlier = first[0]
        rate = (progress.num_documents - earlier) / (now_s - start_s) if now_s > start_s else 0.0
        counts = f"{progress.num_documents:,} documents ({rate:,.0f}/s), {progress.num_tokens:,} tokens"
        done = progress.num_records if limit is None else progress.num_documents
        bar.update(task, completed=done, counts=counts)

    try:
        yield show
    finally:
        if first:
            bar.stop()
