"""Seconds of a piece of device work as it costs inside of a CUDA graph, without the host's time to launch it."""

from __future__ import annotations

from collections.abc import Callable

from timetrial.clock import Clock
from timetrial_plugins.engine.graph import Recorder

_WARM_UPS = 2
_REPETITIONS = 20  # in one graph, so that what a replay costs by itself is spread


class GraphStopwatch:
    """Times work by replaying it; the work is done many times and may write over what it reads."""

    def __init__(self, recorder: Recorder, clock: Clock, readings: int = 5) -> None:
        """Read `clock`, which waits for the device, around each of so many replays."""
        self._recorder, self._clock, self._readings = recorder, clock, readings

    def shortest_s(self, work: Callable[[], object]) -> float:
        """Return the seconds of one repetition in the shortest reading, after one that is thrown away.

        Raises:
            RuntimeError: the work cannot be recorded.
        """
        for _ in range(_WARM_UPS):
            self._recorder.warm_up(lambda: _repeat(work, 1))
        replay = self._recorder.record(lambda: _repeat(work, _REPETITIONS))
        replay()
        return min(self._reading_s(replay) for _ in range(self._readings)) / _REPETITIONS

    def _reading_s(self, replay: Callable[[], None]) -> float:
        start_s = self._clock.now()
        replay()
        return self._clock.now() - start_s


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()
