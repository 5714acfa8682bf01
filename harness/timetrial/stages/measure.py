"""Stage 4: the timing grid. Warm-ups go up in batch size and find the largest that fits; repeats run in random order.

Random order spreads whatever drifts (clocks, heat, other load) over the whole grid of a model, and over all engines
that run it (docs/timing.md).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from timetrial.clock import Clock
from timetrial.config import TimingGrid
from timetrial.engines import OWN_ENGINE, TimedModel
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


class Trial(NamedTuple):
    """One batch, to be timed once."""

    engine: str
    shape: Shape
    repeat: int


class Work(NamedTuple):
    """What is left to time of one model's grid on one engine."""

    shapes: tuple[Shape, ...]
    """Those not known to be too large, by prompt length, and by batch ascending; each is warmed up."""
    trials: tuple[Trial, ...]
    """Those without a time."""


def remaining_work(folder: RunFolder, name: str, engine: str, grid: TimingGrid, environment: str) -> Work:
    """Return what is left to time; at a prompt length, nothing is left above a batch that ran out of memory."""
    mine = (name, engine, grid.new_tokens, environment)
    known = [row for row in folder.read(Timing) if (row.model, row.engine, row.new_tokens, row.environment) == mine]
    done = {(_shape(row), row.repeat) for row in known if row.status == "ok" and not row.is_warmup}
    too_large = [_shape(row) for row in known if row.status == "out_of_memory"]
    shapes = [Shape(prompt_tokens, batch) for prompt_tokens in grid.prompt_tokens for batch in sorted(grid.batches)]
    shapes = [shape for shape in shapes if not any(_is_beyond(shape, failed) for failed in too_large)]
    trials = [Trial(engine, shape, repeat) for repeat in range(grid.repeats) for shape in shapes]
    return Work(tuple(shapes), tuple(trial for trial in trials if (trial.shape, trial.repeat) not in done))


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What stays the same while the grid of one model is timed."""

    name: str
    """The model's name in the records."""
    model: Model
    """As its family's own engine runs it; what its steps cost holds for all engines."""
    grid: TimingGrid
    """With its lengths settled: none is missing."""
    environment: str
    clock: Clock
    seed: int
    weights: Weights = "checkpoint"
    rates: MachineRates | None = None
    """What the machine was measured to do; None: the rows have no floor."""
    engines: Mapping[str, TimedModel] | None = None
    """What is timed, by engine; None: the model on its own."""

    def run(self, folder: RunFolder, progress: ProgressFactory) -> int:
        """Time what is not in the folder yet; return how many times that was.

        Once a batch does not fit, it is recorded as out of memory and larger ones are not tried at that prompt length.
        Warm-ups are repeated whenever anything is timed: a fresh process is cold again.
        """
        left = {
            engine: remaining_work(folder, self.name, engine, self.grid, self.environment)
            for engine in self._timed_models()
        }
        work = {engine: work for engine, work in left.items() if work.trials}
        if not work:
            return 0
        total = sum(len(each.trials) + self.grid.warmups * len(each.shapes) for each in work.values())
        with folder.appending(Timing) as file, progress(f"time {self.name}", total) as advance:
            trials: list[Trial] = []
            for engine, (shapes, its_trials) in work.items():
                fitting = self.warm_up(engine, shapes, file, advance)
                trials += [trial for trial in its_trials if trial.shape in fitting]
            random.Random(self.seed).shuffle(trials)
            for trial in trials:
                file.append([self.time(trial)])
                advance(1)
        return len(trials)

    def _timed_models(self) -> Mapping[str, TimedModel]:
        return {OWN_ENGINE: self.model} if self.engines is None else self.engines

    def warm_up(self, engine: str, shapes: Sequence[Shape], file: Appender[Timing], advance: Advance) -> set[Shape]:
        """Run every shape on an engine outside the mean, smallest batch first; return those that fit."""
        fitting: set[Shape] = set()
        too_large: list[Shape] = []
        for shape in shapes:
            if any(_is_beyond(shape, failed) for failed in too_large):
                continue
            for index in range(self.grid.warmups):
                row = self.time(Trial(engine, shape, -1 - index))
                file.append([row])
                advance(1)
                if row.status == "out_of_memory":
                    too_large.append(shape)
                    break
            else:
                fitting.add(shape)
        return fitting

    def time(self, trial: Trial) -> Timing:
        """Time one batch once; a negative repeat is a warm-up."""
        engine, (prompt_tokens, batch), repeat = trial
        model, new_tokens = self._timed_models()[engine], self.grid.new_tokens
        assert new_tokens is not None, "settle the grid's lengths first"
        try:
            seed = (self.seed * 1000 + repeat) % 2**32  # random generators take no negative seeds
            times = model.decode_timing(batch, prompt_tokens, new_tokens, clock=self.clock, seed=seed)
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
            engine=engine,
            weights=self.weights,
            kernels=model.description.get("kernels"),
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
