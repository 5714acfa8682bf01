"""Decode steps as CUDA graphs, one for each bucket of rows and slots, and step by step where that cannot be.

A step is a function of its bucket alone: it reads and writes tensors that stay where they are, for the first `rows`
rows, of which some may be idle, and it does nothing on the host that would have to be done again when it is replayed.
Its first calls in a bucket are real steps that warm up what is compiled or chosen on first use; then it is recorded,
which executes nothing, and from then on replayed.

Only `CudaRecorder` touches a device; the rest is decided on the host and knows none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

_WARM_UPS = 2
_SLOT_STEP = 128


class Bucket(NamedTuple):
    """The shape of a step."""

    rows: int
    slots: int
    """How far attention reads a row's keys and values."""


Step = Callable[[Bucket], None]
Replay = Callable[[], None]


class Recorder(Protocol):
    """Something that records device work and replays it."""

    def warm_up(self, work: Replay) -> None:
        """Do the work, where recording will be done."""

    def record(self, work: Replay) -> Replay:
        """Return what does the work anew; the work itself is not done.

        Raises:
            RuntimeError: it cannot be recorded.
        """


def row_sizes(most: int) -> tuple[int, ...]:
    """Return powers of two and the sizes half-way between two of them, up to and with `most`: 1 2 3 4 6 8 12 16 24."""
    powers = [1 << exponent for exponent in range(most.bit_length())]
    between = [3 * power // 2 for power in powers if power >= 2]
    return tuple(sorted({size for size in (*powers, *between) if size < most} | {most}))


def slot_sizes(capacity: int) -> tuple[int, ...]:
    """Return multiples of 128, up to and with `capacity`."""
    return (*range(_SLOT_STEP, capacity, _SLOT_STEP), capacity)


@dataclass(frozen=True, kw_only=True, slots=True)
class Buckets:
    """The shapes that steps are recorded in; sizes ascend."""

    rows: Sequence[int]
    slots: Sequence[int]

    @classmethod
    def up_to(cls, rows: int, capacity: int) -> Buckets:
        """Return the buckets of a batch of up to `rows` rows of `capacity` slots."""
        return cls(rows=row_sizes(rows), slots=slot_sizes(capacity))

    def holding(self, rows: int, slots: int) -> Bucket:
        """Return the smallest bucket for so many rows and slots."""
        assert 0 < rows <= self.rows[-1], f"{rows} rows in buckets of up to {self.rows[-1]}"
        assert 0 < slots <= self.slots[-1], f"{slots} slots in buckets of up to {self.slots[-1]}"
        return Bucket(
            self.rows[bisect_left(self.rows, rows)],
            self.slots[bisect_left(self.slots, slots)],
        )


class Runner(Protocol):
    """What runs the steps of a batch."""

    def run(self, rows: int, slots: int) -> None:
        """Run one step for `rows` rows, of which attention reads `slots` slots."""

    def prepare(self, rows: int, slots: int) -> None:
        """Do once what such steps need; they may be run for it."""


class GraphRunner:
    """Runs steps, recorded where possible; rows that fill up a bucket are idle and read and write memory of no use."""

    def __init__(
        self,
        step: Step,
        buckets: Buckets,
        recorder: Recorder | None,
        problem: str | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        """Run `step` by replaying what `recorder` records; without a recorder eagerly, for the `problem` given.

        `note` is told the problem if recording fails later.
        """
        assert (recorder is None) == (problem is not None), "a runner without a recorder has a reason"
        self._step, self._buckets, self._recorder = step, buckets, recorder
        self._num_warm_ups: dict[Bucket, int] = {}
        self._recorded: dict[Bucket, Replay] = {}
        self._stamp: Hashable = None
        self._note = note
        self.problem = problem
        """Why steps run eagerly; None: they do not."""

    @property
    def recorded(self) -> Sequence[Bucket]:
        """The buckets that are replayed."""
        return tuple(self._recorded)

    def run(self, rows: int, slots: int, stamp: Hashable = None) -> None:
        """Run one step for `rows` rows and `slots` slots.

        `stamp` stands for everything that a recording has fixed besides its bucket: addresses, temperatures. When it
        changes, what was recorded is stale and recorded anew.
        """
        if stamp != self._stamp:
            self._recorded.clear()
            self._stamp = stamp
        if self._recorder is None:
            self._step(Bucket(rows, slots))
            return
        bucket = self._buckets.holding(rows, slots)
        if bucket in self._recorded:
            self._recorded[bucket]()
        elif self._num_warm_ups.get(bucket, 0) < _WARM_UPS:
            self._num_warm_ups[bucket] = self._num_warm_ups.get(bucket, 0) + 1
            self._recorder.warm_up(lambda: self._step(bucket))
        else:
            self._record(self._recorder, bucket)

    def prepare(self, rows: int, slots: int) -> None:
        """Warm up and record the bucket of `rows` rows and `slots` slots, if that is not done: its steps are run."""
        while self._recorder is not None and self._buckets.holding(rows, slots) not in self._recorded:
            self.run(rows, slots, self._stamp)

    def _record(self, recorder: Recorder, bucket: Bucket) -> None:
        """Record a bucket and replay it; where that fails, run eagerly from now on and keep the reason."""
        try:
            replay = recorder.record(lambda: self._step(bucket))
        except torch.OutOfMemoryError:
            raise  # a smaller batch may fit, recorded
        except RuntimeError as cause:
            self._recorder, self.problem = None, f"recording a CUDA graph failed ({' '.join(str(cause).split())})"
            self._recorded.clear()
            if self._note is not None:
                self._note(self.problem)
            self._step(bucket)
        else:
            self._recorded[bucket] = replay
            replay()


class CudaRecorder:
    """Records CUDA graphs on a stream of its own; all share one pool of memory, for they never run at once."""

    def __init__(self, device: torch.device) -> None:
        """Record what runs on `device`."""
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Replay) -> None:
        """Do the work on the stream that records."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            work()
        current.wait_stream(self._stream)

    def record(self, work: Replay) -> Replay:
        """Record the work as a graph.

        Raises:
            RuntimeError: it waits for the host, or does something else that a graph cannot hold.
        """
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self._device)
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            work()
        replay: Replay = graph.replay
        return replay
