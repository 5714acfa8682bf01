"""Runs the steps of a batch on a CPU: what they call is recorded once, and then called without Python in between.

A recording serves any number of rows, so steps run for exactly the rows there are.
"""

from __future__ import annotations

from collections.abc import Callable

from timetrial_plugins.device.step import DeviceStep
from timetrial_plugins.engine.graph import Bucket, Step
from timetrial_plugins.ops.native.native_ops import NativeKernels
from timetrial_plugins.ops.native.recording import NotRecordedError


class NativeRunner:
    """Draws and reads by recorded calls, or by Python what does more than call native kernels."""

    def __init__(self, step: DeviceStep, kernels: NativeKernels, room: Bucket, note: Callable[[str], None]) -> None:
        """Run a step whose operations are those of the kernels, for up to the rows and slots of a bucket.

        `note` is told why reading is not recorded.
        """
        self._step, self._kernels, self._room, self._note = step, kernels, room, note
        self._draw: Callable[[int], None] | None = None
        self._read: Callable[[int], None] | None = None

    def run(self, rows: int, slots: int) -> None:
        """Run one step; attention reads each row as far as it goes, whatever `slots` is."""
        self.prepare(rows, slots)
        self.draw(rows)
        self.read(rows)
        self._step.advance(self._bucket(rows))

    def draw(self, rows: int) -> None:
        """Draw the next tokens."""
        assert self._draw is not None, "steps are prepared first"
        self._draw(rows)

    def read(self, rows: int) -> None:
        """Read the tokens."""
        assert self._read is not None, "steps are prepared first"
        self._read(rows)

    def prepare(self, rows: int, slots: int) -> None:
        """Record what steps call, if that is not done."""
        if self._read is None:
            self._draw = self._recorded(self._step.draw, lambda problem: None)  # top-k and top-p are PyTorch's
            self._read = self._recorded(self._step.read, self._note)

    def _recorded(self, part: Step, note: Callable[[str], None]) -> Callable[[int], None]:
        """Return a part of the step for a number of rows."""
        try:
            return self._kernels.recorded(lambda: part(self._room), self._room.rows)
        except NotRecordedError as cause:
            note(str(cause))
            return lambda rows: part(self._bucket(rows))

    def _bucket(self, rows: int) -> Bucket:
        return Bucket(rows, self._room.slots)
