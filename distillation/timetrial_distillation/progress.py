"""The progress bar of a training run, on stderr: loss, tokens per second, time left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from timetrial_distillation.loop import StepLog

_WINDOW = 20
"""Steps that loss and speed are averaged over."""


@contextmanager
def training_bar(label: str, num_steps: int) -> Iterator[Callable[[StepLog], None]]:
    """Show a bar from the first step on; call what is yielded after every step."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[speed]} tokens/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    recent: deque[StepLog] = deque(maxlen=_WINDOW)
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=num_steps, visible=False, loss="-", speed="-")

        def show(entry: StepLog) -> None:
            recent.append(entry)
            loss = sum(e.loss for e in recent) / len(recent)
            progress.update(task, completed=entry.step, visible=True, loss=f"{loss:.3f}", speed=_speed(recent))

        yield show


def _speed(recent: deque[StepLog]) -> str:
    seconds = recent[-1].elapsed_s - recent[0].elapsed_s
    tokens = recent[-1].tokens_seen - recent[0].tokens_seen
    return f"{tokens / seconds:,.0f}" if seconds > 0 else "-"
