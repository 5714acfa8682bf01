"""Stage 4: the timing grid. Warm-ups go up in batch size and find the largest that fits; repeats run in random order.

Random order spreads whatever drifts (clocks, heat, other load) over the whole grid (docs/timing.md).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from timetrial.clock import Clock
from timetrial.config import TimingGrid
from timetrial.floor import decode_cost
from timetrial.progress import Advance, ProgressFactory
from timetrial.protocol import Model, OutOfMemory
from timetrial.rates import MachineRates
from timetrial.record import Timing, Weights
from timetrial.store import Appender, RunFolder


class Shape(NamedTuple):
    """A batch of equal prompts."""

    prompt_tokens: int
    batch: int


class Work(NamedTuple):
    """What is left to time of one model's grid."""

    shapes: tuple[Shape, ...]
    """Those not known to be too large, by prompt length, and by batch ascending; each is warmed up."""
    cells: tuple[tuple[Shape, int], ...]
    """(shape, repeat) without a time."""


def remaining_work(folder: RunFolder, name: str, grid: TimingGrid, environment: str) -> Work:
    """Return what is left to time; at a prompt length, nothing is left above a batch that ran out of memory."""
    mine = (name, grid.new_tokens, environment)
    known = [row for row in folder.read(Timing) if (row.model, row.new_tokens, row.environment) == mine]
    done = {(_shape(row), row.repeat) for row in known if row.status == "ok" and not row.is_warmup}
    too_large = [_shape(row) for row in known if row.status == "out_of_memory"]
    shapes = [Shape(prompt_tokens, batch) for prompt_tokens in grid.prompt_tokens for batch in sorted(grid.batches)]
    shapes = [shape for shape in shapes if not any(_is_beyond(shape, failed) for failed in too_large)]
    cells = [(shape, repeat) for repeat in range(grid.repeats) for shape in shapes]
    return Work(tuple(shapes), tuple(cell for cell in cells if cell not in done))


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What stays the same while the grid of one model is timed."""

    name: str
    """The model's name in the records."""
    model: Model
    grid: TimingGrid
    """With its lengths settled: none is missing."""
    environment: str
    clock: Clock
    seed: int
    weights: Weights = "checkpoint"
    rates: MachineRates | None = None
    """What the machine was measured to do; None: the rows have no floor."""

    def run(self, folder: RunFolder, progress: ProgressFactory) -> int:
        """Time the cells that are not in the folder yet; return how many were timed.

        Once a batch does not fit, it is recorded as out of memory and larger ones are not tried at that prompt length.
        Warm-ups are repeated whenever anything is timed: a fresh process is cold again.
        """
        work = remaining_work(folder, self.name, self.grid, self.environment)
        if not work.cells:
            return 0
        total = len(work.cells) + self.grid.warmups * len(work.shapes)
        with folder.appending(Timing) as file, progress(f"time {self.name}", total) as advance:
            fitting = self.warm_up(work.shapes, file, advance)
            cells = [cell for cell in work.cells if cell[0] in fitting]
            random.Random(self.seed).shuffle(cells)
            for shape, repeat in cells:
                file.append([self.time(shape, repeat)])
                advance(1)
        return len(cells)

    def warm_up(self, shapes: Sequence[Shape], file: Appender[Timing], advance: Advance) -> set[Shape]:
        """Run every shape outside the mean, smallest batch first; return those that fit."""
        fitting: set[Shape] = set()
        too_large: list[Shape] = []
        for shape in shapes:
            if any(_is_beyond(shape, failed) for failed in too_large):
                continue
            for index in range(self.grid.warmups):
                row = self.time(shape, -1 - index)
                file.append([row])
                advance(1)
                if row.status == "out_of_memory":
                    too_large.append(shape)
                    break
            else:
                fitting.add(shape)
        return fitting

    def time(self, shape: Shape, repeat: int) -> Timing:
        """Time one batch once; a negative repeat is a warm-up."""
        prompt_tokens, batch = shape
        new_tokens = self.grid.new_tokens
        assert new_tokens is not None, "settle the grid's lengths first"
        try:
            seed = (self.seed * 1000 + repeat) % 2**32  # random generators take no negative seeds
            times = self.model.decode_timing(batch, prompt_tokens, new_tokens, clock=self.clock, seed=seed)
        except OutOfMemory:
            times = None
        cost = decode_cost(self.model, batch, prompt_tokens, new_tokens, self.rates)
        return Timing(
            model=self.name,
            batch=batch,
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            repeat=repeat,
            is_warmup=repeat < 0,
            status="ok" if times else "out_of_memory",
            prefill_s=times.prefill_s if times else None,
            decode_s=times.decode_s if times else None,
            peak_bytes=times.peak_bytes if times else None,
            environment=self.environment,
            weights=self.weights,
            kernels=self.model.description.get("kernels"),
            is_prompt_shared=times.is_prompt_shared if times else None,
            step_bytes=cost.step_bytes,
            step_flops=cost.step_flops,
            floor_s=cost.floor_s,
        )


def _shape(row: Timing) -> Shape:
    return Shape(row.prompt_tokens, row.batch)


def _is_beyond(shape: Shape, failed: Shape) -> bool:
    """Whether a shape needs at least as much memory as one that ran out of it."""
    return shape.prompt_tokens == failed.prompt_tokens and shape.batch >= failed.batch
