"""Replay on disk: read a run's lengths, timings and end-to-end seconds, and make what replay.json holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from timetrial.progress import Advance, ProgressFactory, silent
from timetrial.protocol import Aggregator
from timetrial.record import Completion, EndToEnd, ScoreTiming, Series, Timing
from timetrial.replay_record import DeadlineCurve, DeadlineDifference, Missing, Replay, ReplayedSeconds, Throughput
from timetrial.stages.deadline import DeadlineCurves, common_problems, deadline_curves
from timetrial.stages.deadline_values import Contender, DeadlineSettings
from timetrial.stages.lengths import LengthPool, collect_lengths
from timetrial.stages.pools import CountPool, VotePool
from timetrial.stages.replay import replay_seconds, throughputs
from timetrial.stages.step_fits import CURE, ModelSteps, fit_models
from timetrial.stages.times import verifier_times
from timetrial.stages.validation import validations
from timetrial.store import RunFolder

REPLAY_FILE = "replay.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplaySource:
    """What a replay is made of."""

    folder: RunFolder
    pools: Sequence[VotePool | CountPool]
    """The graded samples of the run."""
    mapped: Sequence[Timing]
    """The rows that T*(k) comes from: of one machine and one workload."""
    verifier: Sequence[ScoreTiming] = ()
    """Those of reward models on the same machine."""
    ks: Sequence[int]
    num_samples: int
    """Of each problem; greedy series have one."""
    settings: DeadlineSettings = DeadlineSettings()


class _Known(NamedTuple):
    """The series whose lengths and whose model's steps are known, and what is missing of the others."""

    lengths: Mapping[Series, LengthPool]
    missing: tuple[Missing, ...]


def make_replay(
    source: ReplaySource, aggregators: Mapping[str, Aggregator], progress: ProgressFactory = silent
) -> Replay:
    """Return everything replay.json holds; what cannot be replayed is listed with the reason.

    Raises:
        PluginError: an aggregator fails or breaks its contract.
    """
    folder, settings = source.folder, source.settings
    environment = source.mapped[0].environment if source.mapped else ""
    fits = fit_models(folder.read(Timing), environment)
    known = _known_lengths(source, fits.models)
    with progress("replay", 3 * len(known.lengths)) as advance:
        seconds, busy = _replayed(source, known.lengths, fits.models, advance)
        deadlines = _deadlines(source, known.lengths, fits.models, aggregators, advance)
    return Replay(
        replicates=settings.replicates,
        draws=settings.draws,
        permutations=settings.permutations,
        seed=settings.seed,
        fits=tuple(model.fit for model in fits.models.values()),
        seconds=tuple(seconds),
        throughput=tuple(busy),
        deadlines=tuple(deadlines.curves),
        differences=tuple(deadlines.differences),
        validations=tuple(validations(folder.read(EndToEnd), environment, fits.models)),
        missing=(*fits.missing, *known.missing, *deadlines.missing),
    )


def _replayed(
    source: ReplaySource, lengths: Mapping[Series, LengthPool], models: Mapping[str, ModelSteps], advance: Advance
) -> tuple[list[ReplayedSeconds], list[Throughput]]:
    seconds: list[ReplayedSeconds] = []
    busy: list[Throughput] = []
    settings = source.settings
    for series, pool in lengths.items():
        steps = models[series.model].steps
        rows = [row for row in source.mapped if row.model == series.model]
        ks = [k for k in source.ks if k <= pool.num_samples]
        seconds.append(replay_seconds(pool, steps, rows, ks, replicates=settings.replicates, seed=settings.seed))
        busy += throughputs(pool, steps)
        advance(1)
    return seconds, busy


@dataclass(kw_only=True, slots=True)
class _Deadlines:
    """The deadline curves of all tasks while they are being made."""

    curves: list[DeadlineCurve] = field(default_factory=list)
    differences: list[DeadlineDifference] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def add(self, made: DeadlineCurves) -> None:
        first = len(self.curves)
        self.curves += made.curves
        self.differences += (
            replace(each, curve=each.curve + first, baseline=each.baseline + first) for each in made.differences
        )


def _deadlines(
    source: ReplaySource,
    lengths: Mapping[Series, LengthPool],
    models: Mapping[str, ModelSteps],
    aggregators: Mapping[str, Aggregator],
    advance: Advance,
) -> _Deadlines:
    made = _Deadlines()
    for task in dict.fromkeys(series.task for series in lengths):
        contenders = _contenders(task, source, lengths, models)
        if common_problems(contenders):
            made.add(deadline_curves(contenders, aggregators, source.settings, advance))
        else:
            made.missing.append(Missing(what=f"deadlines of {task}", reason=_NO_PROBLEM))
    return made


_NO_PROBLEM = "no problem has all samples of all its models graded, scored and of known length"


def _known_lengths(source: ReplaySource, models: Mapping[str, ModelSteps]) -> _Known:
    known: dict[Series, LengthPool] = {}
    timed = {row.model for row in source.mapped if row.status == "ok" and not row.is_warmup}
    missing = [
        Missing(what=_name(pool.series), reason="only counts were imported: there are no completions with lengths")
        for pool in source.pools
        if isinstance(pool, CountPool)
    ]
    for pool in collect_lengths(source.folder.read(Completion), source.num_samples):
        if not pool.problems:
            reason = f"none of its {pool.num_left_out} problems has {source.num_samples} completions of known length"
            missing.append(Missing(what=_name(pool.series), reason=reason))
        elif pool.series.model not in timed:
            missing.append(Missing(what=_name(pool.series), reason=f"its model was not timed; {CURE}"))
        elif pool.series.model in models:
            known[pool.series] = pool
    return _Known(known, tuple(missing))


def _contenders(
    task: str, source: ReplaySource, lengths: Mapping[Series, LengthPool], models: Mapping[str, ModelSteps]
) -> list[Contender]:
    made = []
    times = verifier_times(source.verifier, source.ks, replicates=1, seed=0)
    for pool in source.pools:
        if isinstance(pool, VotePool) and pool.series.task == task and pool.series in lengths:
            steps = models[pool.series.model].steps
            ks = tuple(k for k in source.ks if k <= min(pool.num_samples, steps.largest))
            if ks:
                scored = {name: table for name, table in pool.scored.items() if table.problems}
                contender = Contender(
                    votes=replace(pool, scored=scored),
                    lengths=lengths[pool.series],
                    steps=steps,
                    ks=ks,
                    scoring={name: times[name].at(ks).seconds for name in scored if name in times},
                )
                made.append(contender)
    return made


def _name(series: Series) -> str:
    return f"{series.model} on {series.task} at T = {series.temperature:g}"
