"""Stage 4: the timing grid. Warm-ups go up in batch size and find the largest that fits; repeats run in random order.

Random order spreads whatever drifts (clocks, heat, other load) over all batch sizes (docs/timing.md).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from timetrial.clock import Clock
from timetrial.config import TimingGrid
from timetrial.progress import Advance, ProgressFactory
from timetrial.protocol import Model, OutOfMemory
from timetrial.record import Timing
from timetrial.store import Appender, RunFolder


class Work(NamedTuple):
    """What is left to time of one model's grid."""

    batches: tuple[int, ...]
    """Those not known to be too large, ascending; each is warmed up."""
    cells: tuple[tuple[int, int], ...]
    """(batch, repeat) without a time."""


def remaining_work(folder: RunFolder, name: str, grid: TimingGrid, environment: str) -> Work:
    """Return what is left to time; nothing is left above a batch that ran out of memory."""
    mine = (name, grid.prompt_tokens, grid.new_tokens, environment)
    known = [
        row for row in folder.read(Timing) if (row.model, row.prompt_tokens, row.new_tokens, row.environment) == mine
    ]
    done = {(row.batch, row.repeat) for row in known if row.status == "ok" and not row.is_warmup}
    too_large = min((row.batch for row in known if row.status == "out_of_memory"), default=None)
    batches = sorted(batch for batch in grid.batches if too_large is None or batch < too_large)
    cells = [(batch, repeat) for repeat in range(grid.repeats) for batch in batches]
    return Work(tuple(batches), tuple(cell for cell in cells if cell not in done))


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What stays the same while the grid of one model is timed."""

    name: str
    """The model's name in the records."""
    model: Model
    grid: TimingGrid
    """With its lengths settled: no None."""
    environment: str
    clock: Clock
    seed: int

    def run(self, folder: RunFolder, progress: ProgressFactory) -> int:
        """Time the cells that are not in the folder yet; return how many were timed.

        Once a batch does not fit, it is recorded as out of memory and larger ones are not tried. Warm-ups are
        repeated whenever anything is timed: a fresh process is cold again.
        """
        work = remaining_work(folder, self.name, self.grid, self.environment)
        if not work.cells:
            return 0
        total = len(work.cells) + self.grid.warmups * len(work.batches)
        with folder.appending(Timing) as file, progress(f"time {self.name}", total) as advance:
            fitting = self.warm_up(work.batches, file, advance)
            cells = [cell for cell in work.cells if cell[0] in fitting]
            random.Random(self.seed).shuffle(cells)
            for batch, repeat in cells:
                file.append([self.time(batch, repeat)])
                advance(1)
        return len(cells)

    def warm_up(self, batches: Sequence[int], file: Appender[Timing], advance: Advance) -> set[int]:
        """Run every batch size outside the mean, smallest first; return those that fit."""
        fitting: set[int] = set()
        for batch in batches:
            for index in range(self.grid.warmups):
                row = self.time(batch, -1 - index)
                file.append([row])
                advance(1)
                if row.status == "out_of_memory":
                    return fitting
            fitting.add(batch)
        return fitting

    def time(self, batch: int, repeat: int) -> Timing:
        """Time one batch once; a negative repeat is a warm-up."""
        prompt_tokens, new_tokens = self.grid.prompt_tokens, self.grid.new_tokens
        assert prompt_tokens is not None and new_tokens is not None, "settle the grid's lengths first"
        try:
            seed = (self.seed * 1000 + repeat) % 2**32  # random generators take no negative seeds
            times = self.model.decode_timing(batch, prompt_tokens, new_tokens, clock=self.clock, seed=seed)
        except OutOfMemory:
            times = None
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
        )
