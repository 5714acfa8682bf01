"""The one module that reads time. Seconds, float, monotonic, the device synchronised on both sides.

It does not know what is being timed. Code under test is given `timetrial.testing.FakeClock` instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Something that tells seconds since an arbitrary start."""

    def now(self) -> float:
        """Return seconds on a clock that never goes backwards."""
        ...


class MonotonicClock:
    """The machine's monotonic clock, read after the device has finished its work."""

    def __init__(self, synchronize: Callable[[], None] | None = None) -> None:
        """Read time after calling `synchronize`, which waits for the device (None: nothing to wait for)."""
        self._synchronize = synchronize

    def now(self) -> float:
        """Return seconds since an arbitrary start, with no work left in the device's queue."""
        if self._synchronize is not None:
            self._synchronize()
        return time.perf_counter()


def timestamp() -> str:
    """Return the calendar time in UTC as ISO 8601, for provenance only: never subtract two of them."""
    return datetime.now(UTC).isoformat(timespec="seconds")
