"""Runs the steps of a batch on a CPU: what they call is recorded once, and then called without Python in between.

A recording serves any number of rows, so steps run for exactly the rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from timetrial_plugins.device.step import DeviceStep
from timetrial_plugins.engine.graph import Bucket, Step
from timetrial_plugins.ops.native.native_ops import NativeKernels
from timetrial_plugins.ops.native.recording import NotRecordedError

Part = Callable[[int], None]
"""Does a part of a step for a number of rows."""


class NativeRunner:
    """Makes the recorded calls of a step, or has Python do what is more than calls of native kernels."""

    def __init__(self, step: DeviceStep, kernels: NativeKernels, room: Bucket, note: Callable[[str], None]) -> None:
        """Run a step whose operations are those of the kernels, for up to the rows and slots of a bucket.

        `note` is told why reading tokens is not recorded.
        """
        self._step, self._kernels, self._room, self._note = step, kernels, room, note
        self._parts: Sequence[Part] = ()

    def run(self, rows: int, slots: int) -> None:
        """Run one step; attention reads each row as far as it goes, whatever `slots` is."""
        self.prepare(rows, slots)
        for part in self._parts:
            part(rows)

    def prepare(self, rows: int, slots: int) -> None:
        """Record what steps call, if that is not done."""
        if not self._parts:
            self._parts = self._recorded() or self._recorded_in_parts()

    def _recorded(self) -> Sequence[Part]:
        """Return the step as one part; none if it cannot be recorded as a whole."""
        try:
            return [self._part(self._step)]
        except NotRecordedError:
            return []

    def _recorded_in_parts(self) -> Sequence[Part]:
        """Return the step as three parts: PyTorch draws where some tokens are left out, and reads where it has to."""
        draw, read, advance = self._step.draw, self._step.read, self._step.advance
        try:
            return [self._plain(draw), self._part(read), self._part(advance)]
        except NotRecordedError as cause:
            self._note(str(cause))
            return [self._plain(draw), self._plain(read), self._plain(advance)]

    def _part(self, part: Step) -> Part:
        """Return a part of the step, recorded.

        Raises:
            NotRecordedError: it does more than call native kernels.
        """
        return self._kernels.recorded(lambda: part(self._room), self._room.rows)

    def _plain(self, part: Step) -> Part:
        return lambda rows: part(Bucket(rows, self._room.slots))
