"""From the rows of timings.jsonl and score_timings.jsonl to the seconds of k samples, decoded and scored.

Decoding and scoring follow one another, so their seconds add up; each is split into batches as suits it best.
B replicates, K values of k.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from timetrial.accounting import GENERATION
from timetrial.analysis import TimeTable
from timetrial.error import RunError
from timetrial.record import Curve, ScoreTiming, Timing
from timetrial.statistics.bootstrap import percentile_interval
from timetrial.statistics.budget import MeasuredGrid, best_split, best_split_s
from timetrial.statistics.table import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class TimingRows:
    """What was timed, of one machine."""

    generation: Sequence[Timing] = ()
    """With one workload (prompt and new tokens) per model."""
    verifier: Mapping[str, Sequence[ScoreTiming]] = field(default_factory=dict)
    """By generating model, how long scoring its completions takes: one workload per reward model."""
    untimed: Mapping[str, str] = field(default_factory=dict)
    """By reward model whose seconds are not known, why."""


class Seconds(NamedTuple):
    """T*(k) of one model at some ks."""

    seconds: FloatArray
    """(K,) from the median repeats."""
    replicates: FloatArray
    """(B, K) from one repeat of each batch size, drawn at random."""

    def followed_by(self, other: Seconds) -> Seconds:
        """Return the seconds of one after the other, at the same ks."""
        return Seconds(self.seconds + other.seconds, self.replicates + other.replicates)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTimes:
    """T*(k) of one model at every k of a run."""

    table: TimeTable
    replicates: FloatArray
    """(B, K) for the ks of the table."""

    def at(self, ks: Sequence[int]) -> Seconds:
        """Return the seconds of some of the table's ks, in that order."""
        columns = [self.table.ks.index(k) for k in ks]
        return Seconds(np.array(self.table.seconds)[columns], self.replicates[:, columns])


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTimes:
    """T*(k) of all that a run's curves need."""

    models: Mapping[str, ModelTimes]
    verifiers: Mapping[tuple[str, str], ModelTimes]
    """By generating model and reward model."""

    def of(self, curve: Curve) -> Seconds | None:
        """Return the seconds of a curve's ks by its accounting; None if they were not measured."""
        model, verifier = self.models.get(curve.model), self.verifier(curve)
        if model is None:
            return None
        seconds = model.at(curve.ks)
        if curve.accounting == GENERATION:
            return seconds
        return None if verifier is None else seconds.followed_by(verifier.at(curve.ks))

    def verifier(self, curve: Curve) -> ModelTimes | None:
        """Return the seconds of scoring a curve's samples; None if it takes no scores or nobody timed that."""
        return None if curve.reward_model is None else self.verifiers.get((curve.model, curve.reward_model))


def run_times(rows: TimingRows, ks: Sequence[int], *, replicates: int, seed: int) -> RunTimes:
    """Return the seconds of everything that was timed.

    Raises:
        RunError: the rows come from several machines, or something was timed on several workloads.
    """
    verifiers: dict[tuple[str, str], ModelTimes] = {}
    for model, timings in rows.verifier.items():
        made = verifier_times(timings, ks, replicates=replicates, seed=seed)
        verifiers |= {(model, reward_model): times for reward_model, times in made.items()}
    return RunTimes(
        models=model_times(rows.generation, ks, replicates=replicates, seed=seed),
        verifiers=verifiers,
    )


def verifier_times(
    timings: Iterable[ScoreTiming], ks: Sequence[int], *, replicates: int, seed: int
) -> Mapping[str, ModelTimes]:
    """Return T*(k) of scoring k samples, of every reward model that completed a timed batch.

    Raises:
        RunError: a reward model was timed on several workloads.
    """
    rows: dict[str, list[ScoreTiming]] = {}
    for timing in timings:
        rows.setdefault(timing.reward_model, []).append(timing)
    times = {}
    for name, timed in rows.items():
        readings = {(timing.prompt_tokens, timing.tokens, timing.steps) for timing in timed}
        if len(readings) > 1:
            raise RunError(f"{name} was timed on solutions of {len(readings)} different lengths: choose one of them")
        grid = _grid(_Repeat(timing.batch, timing.score_s, timing.is_warmup) for timing in timed)
        if grid is not None:
            first = timed[0]
            workload = _Workload(name, first.prompt_tokens, first.tokens, first.environment)
            times[name] = _times(workload, grid, ks, _draw(grid, name, replicates, seed))
    return times


def model_times(
    timings: Iterable[Timing], ks: Sequence[int], *, replicates: int, seed: int
) -> Mapping[str, ModelTimes]:
    """Return T*(k) of every model that completed a timed batch; a model without one is absent.

    A batch size counts as out of memory if any repeat, warm-ups included, ran out of it; nothing else is taken from
    warm-ups.

    Raises:
        RunError: the rows come from several machines, or a model was timed on several workloads.
    """
    rows: dict[str, list[Timing]] = {}
    for timing in timings:
        rows.setdefault(timing.model, []).append(timing)
    environments = sorted({timing.environment for model in rows.values() for timing in model})
    if len(environments) > 1:
        raise RunError(
            f"the timings come from {len(environments)} machines or set-ups ({', '.join(environments)}): "
            "seconds of different machines do not belong in one comparison; keep one of them"
        )
    times = {}
    for model, timed in rows.items():
        grid = measured_grid(timed)
        if grid is not None:
            first = timed[0]
            workload = _Workload(model, first.prompt_tokens, first.new_tokens, first.environment)
            times[model] = _times(workload, grid, ks, _draw(grid, model, replicates, seed))
    return times


def measured_grid(timings: Sequence[Timing]) -> MeasuredGrid | None:
    """Return the grid of one model's timings, or None if no batch fitted.

    Raises:
        RunError: they are of several workloads.
    """
    workloads = sorted({(timing.prompt_tokens, timing.new_tokens) for timing in timings})
    if len(workloads) > 1:
        listed = "; ".join(f"{prompt} prompt and {new} new tokens" for prompt, new in workloads)
        raise RunError(f"{timings[0].model} was timed on several workloads ({listed}): choose one of them")
    return _grid(_Repeat(timing.batch, timing.decode_s, timing.is_warmup) for timing in timings)


class _Repeat(NamedTuple):
    """One timed repeat of a batch."""

    batch: int
    seconds: float | None
    """None: out of memory."""
    is_warmup: bool


class _Workload(NamedTuple):
    """What was timed, and where."""

    name: str
    prompt_tokens: int
    tokens: int
    environment: str


def _grid(timed: Iterable[_Repeat]) -> MeasuredGrid | None:
    rows = list(timed)
    failed = {row.batch for row in rows if row.seconds is None}
    repeats: dict[int, list[float]] = {}
    for row in rows:
        if row.seconds is not None and not row.is_warmup and row.batch not in failed:
            repeats.setdefault(row.batch, []).append(row.seconds)
    if not repeats:
        return None
    batches = tuple(sorted(repeats))
    return MeasuredGrid(
        batches=batches,
        seconds=tuple(tuple(sorted(repeats[batch])) for batch in batches),
        out_of_memory=tuple(sorted(failed)),
    )


def _draw(grid: MeasuredGrid, name: str, replicates: int, seed: int) -> FloatArray:
    return grid.draw(replicates, np.random.default_rng([seed, zlib.crc32(name.encode())]))


def _times(workload: _Workload, grid: MeasuredGrid, ks: Sequence[int], drawn: FloatArray) -> ModelTimes:
    seconds = best_split_s(grid.batches, grid.median_s, ks)
    replicates = best_split_s(grid.batches, drawn, ks)
    low, high = percentile_interval(replicates)
    table = TimeTable(
        model=workload.name,
        prompt_tokens=workload.prompt_tokens,
        new_tokens=workload.tokens,
        environment=workload.environment,
        batches=grid.batches,
        batch_seconds=tuple(grid.median_s.tolist()),
        num_repeats=tuple(len(repeats) for repeats in grid.seconds),
        out_of_memory=grid.out_of_memory,
        ks=tuple(ks),
        seconds=tuple(seconds.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        splits=tuple(best_split(grid.batches, grid.median_s, k) for k in ks),
    )
    return ModelTimes(table=table, replicates=replicates)
