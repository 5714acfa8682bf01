"""Ctrl-C and SIGTERM as a wish to stop after the step in progress, not in the middle of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedTraining(KeyboardInterrupt):
    """Training was asked to stop, and has saved where it was."""


@contextmanager
def deferred_interruption() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a flag; a second one of the kind interrupts at once.

    Outside the main thread, where Python delivers no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    asked = threading.Event()

    def remember(number: int, frame: FrameType | None) -> Any:  # Any: signal handlers return what they like
        asked.set()
        signal.signal(number, previous[signal.Signals(number)])

    for number in _SIGNALS:
        signal.signal(number, remember)
    try:
        yield asked.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def resumable_command() -> Iterator[None]:
    """Tell who interrupts a command of training what is kept and how to go on.

    Raises:
        KeyboardInterrupt: that message, which the command line shows.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        saved = "the step in progress is" if isinstance(stop, InterruptedTraining) else "the last checkpoint is"
        raise KeyboardInterrupt(f"interrupted: {saved} saved; the same command with --resume goes on") from stop
