"""Stage 4 of reward models: the seconds of scoring batches of solutions as long as the run's are.

The protocol is that of the models' grid: warm-ups go up in batch size and find the largest that fits, repeats run in
random order. A batch is of different solutions of one problem; what k samples cost follows as for decoding.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from timetrial.clock import Clock
from timetrial.config import TimingGrid
from timetrial.progress import Advance, ProgressFactory
from timetrial.protocol import OutOfMemory, Reading, TimedRewardModel
from timetrial.record import Completion, ScoreTiming
from timetrial.stages.score import PosedTask, posed_problem
from timetrial.stages.verifier_rows import verifier_rows
from timetrial.store import Appender, RunFolder

NUM_READ = 1000
"""Completions whose mean length is taken for that of all, evenly spread over the run."""


class Trial(NamedTuple):
    """One batch, to be timed once."""

    batch: int
    repeat: int


class Work(NamedTuple):
    """What is left to time of one reward model's grid."""

    batches: tuple[int, ...]
    """Those not known to be too large, ascending; each is warmed up."""
    trials: tuple[Trial, ...]
    """Those without a time."""


def remaining_scoring(folder: RunFolder, name: str, grid: TimingGrid, environment: str) -> Work:
    """Return what is left to time; nothing is left above a batch that ran out of memory."""
    known = [row for row in verifier_rows(folder, environment) if row.reward_model == name]
    done = {Trial(row.batch, row.repeat) for row in known if row.status == "ok" and not row.is_warmup}
    too_large = min((row.batch for row in known if row.status == "out_of_memory"), default=None)
    batches = tuple(batch for batch in sorted(grid.batches) if too_large is None or batch < too_large)
    trials = (Trial(batch, repeat) for repeat in range(grid.repeats) for batch in batches)
    return Work(batches, tuple(trial for trial in trials if trial not in done))


def run_reading(
    folder: RunFolder, name: str, tasks: Mapping[str, PosedTask], reward_model: TimedRewardModel, environment: str
) -> Reading | None:
    """Return how long the run's completions are to a reward model, in the mean; None if it would score none.

    The length that was timed before is kept, so that a growing run stays on one workload.
    """
    for row in verifier_rows(folder, environment):
        if row.reward_model == name:
            return Reading(num_prompt_tokens=row.prompt_tokens, num_tokens=row.tokens, num_steps=row.steps)
    step = max(1, folder.count(Completion) // NUM_READ)
    readings = []
    for completion in islice(folder.read(Completion), 0, None, step):
        if completion.finish != "error":
            posed = tasks[completion.task]
            problem = posed_problem(posed, completion.task, completion.problem)
            readings.append(reward_model.reading(problem, posed.task.prompt(problem), completion))
    known = [reading for reading in readings if reading is not None]
    return _mean(known) if known else None


def _mean(readings: Sequence[Reading]) -> Reading:
    def mean(numbers: Sequence[int]) -> int:
        return max(1, round(statistics.fmean(numbers)))

    return Reading(
        num_prompt_tokens=mean([reading.num_prompt_tokens for reading in readings]),
        num_tokens=mean([reading.num_tokens for reading in readings]),
        num_steps=mean([reading.num_steps for reading in readings]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreMeasurement:
    """What stays the same while one reward model is timed."""

    name: str
    """As in the records."""
    reward_model: TimedRewardModel
    reading: Reading
    grid: TimingGrid
    environment: str
    clock: Clock
    seed: int

    def run(self, folder: RunFolder, progress: ProgressFactory) -> int:
        """Time what is not in the folder yet; return how many times that was.

        Once a batch does not fit, it is recorded as out of memory and larger ones are not tried.
        """
        batches, trials = remaining_scoring(folder, self.name, self.grid, self.environment)
        if not trials:
            return 0
        total = len(trials) + self.grid.warmups * len(batches)
        with folder.appending(ScoreTiming) as file, progress(f"time {self.name}", total) as advance:
            fitting = self.warm_up(batches, file, advance)
            left = [trial for trial in trials if trial.batch in fitting]
            random.Random(self.seed).shuffle(left)
            for trial in left:
                file.append([self.time(trial)])
                advance(1)
        return len(left)

    def warm_up(self, batches: Sequence[int], file: Appender[ScoreTiming], advance: Advance) -> list[int]:
        """Score every batch outside the mean, the smallest first, up to one that does not fit; return those that do."""
        fitting: list[int] = []
        for batch in batches:
            for index in range(self.grid.warmups):
                row = self.time(Trial(batch, -1 - index))
                file.append([row])
                advance(1)
                if row.status == "out_of_memory":
                    return fitting
            fitting.append(batch)
        return fitting

    def time(self, trial: Trial) -> ScoreTiming:
        """Time one batch once; a negative repeat is a warm-up."""
        seed = (self.seed * 1000 + trial.repeat) % 2**32  # random generators take no negative seeds
        try:
            spent = self.reward_model.score_timing(trial.batch, self.reading, clock=self.clock, seed=seed)
        except OutOfMemory:
            spent = None
        return ScoreTiming(
            reward_model=self.name,
            batch=trial.batch,
            prompt_tokens=self.reading.num_prompt_tokens,
            tokens=self.reading.num_tokens,
            steps=self.reading.num_steps,
            repeat=trial.repeat,
            is_warmup=trial.repeat < 0,
            status="ok" if spent else "out_of_memory",
            score_s=spent.score_s if spent else None,
            peak_bytes=spent.peak_bytes if spent else None,
            environment=self.environment,
        )
