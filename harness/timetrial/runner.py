"""A run from beginning to end: sample, grade, score, measure, curves, report. Each stage skips what is on disk.

The order of the stages is the only thing decided here; each has a module of its own in `stages/`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from timetrial.catalog import Catalog, open_catalog
from timetrial.clock import Clock, MonotonicClock
from timetrial.config import RunConfig, TimingGrid, config_from_json, config_to_json, run_name
from timetrial.environment import describe_environment, environment_entry, environment_key
from timetrial.environment_record import EnvironmentRecord
from timetrial.error import RunError
from timetrial.plan import CONFIG_FILE, Plan, check_continues, make_plan
from timetrial.progress import ProgressFactory, silent
from timetrial.protocol import Model
from timetrial.record import Completion, Timing
from timetrial.scorer import find_scorer
from timetrial.spec import LoadOptions
from timetrial.stages.contexts import spanning_contexts
from timetrial.stages.derive import current_timings, write_curves
from timetrial.stages.end_to_end import EndToEndJob, EndToEndSettings, Reference, check_can_validate, some_problems
from timetrial.stages.grade import grade
from timetrial.stages.measure import Measurement, remaining_work
from timetrial.stages.report import write_run_report
from timetrial.stages.sample import SampleJob, existing_samples, missing_requests
from timetrial.store import RunFolder, problems_file, write_problems


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A finished or interrupted run on disk."""

    folder: RunFolder
    config: RunConfig

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def task_facts(self) -> dict[str, dict[str, Any]]:  # Any: JSON values
        """What config.json records of each task."""
        tasks: dict[str, dict[str, Any]] = (self.folder.read_json(CONFIG_FILE) or {}).get("tasks", {})
        return tasks

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a run folder.

        Raises:
            RunError: there is no run in the folder.
        """
        folder = RunFolder(Path(path))
        data = folder.read_json(CONFIG_FILE)
        if data is None:
            raise RunError(f"{path} is no run folder: it has no {CONFIG_FILE}. Runs are made by `timetrial run`")
        if "config" not in data:
            raise RunError(f"{path} holds general benchmarks only, and no run on tasks: `timetrial run` makes those")
        return cls(folder=folder, config=config_from_json(data["config"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a run takes from outside: a catalog of plugins, progress bars, and the clock."""

    catalog: Catalog
    progress: ProgressFactory = silent
    clock_for: Callable[[Model], Clock] = lambda model: MonotonicClock(model.synchronize)
    score_clock: Callable[[], Clock] = MonotonicClock
    """For reward models, which wait for their device themselves."""


def run(config: RunConfig, out: Path | str | None = None, *, surroundings: Surroundings | None = None) -> Run:
    """Do whatever of the run is not done yet, up to the report, and return it.

    Args:
        config: what to run.
        out: the run folder; by default a folder under results/ named after the config, so that the same config
            continues the same run.
        surroundings: plugins, progress and clock; by default the installed plugins and no progress bars.

    Raises:
        TimetrialError: something the user can mend; all finished work is kept.
    """
    surroundings = surroundings or Surroundings(catalog=open_catalog())
    folder = RunFolder(Path(out) if out is not None else Path("results") / run_name(config))
    plan = make_plan(config, surroundings.catalog)
    with folder.locked():
        check_continues(folder, plan)
        _update_json(folder, CONFIG_FILE, plan.to_json())
        for name, graded in plan.tasks.items():
            write_problems(folder.path / problems_file(name), graded.problems.values())
        stages = _Stages(folder, plan, surroundings)
        stages.sample()
        stages.grade()
        stages.score()
        stages.measure()
        stages.report()
    return Run(folder=folder, config=config)


def refresh_report(run: Run, catalog: Catalog, progress: ProgressFactory = silent) -> None:
    """Compute the curves of a run on disk, as its config says now, and write its report again.

    Raises:
        RunLockedError: the run is being written.
        UsageError: it holds nothing to make a curve of.
    """
    aggregators = {name: catalog.aggregator(name) for name in run.config.aggregators}
    with run.folder.locked():
        _update_json(run.folder, CONFIG_FILE, {"config": config_to_json(run.config)})
        write_curves(run.folder, run.config, aggregators, progress)
        write_run_report(run.folder)


def validate_replay(run: Run, settings: EndToEndSettings, surroundings: Surroundings) -> None:
    """Generate some problems of a run end to end, record the wall clock, and write its report again.

    Raises:
        UsageError: this machine, as it is set up, did not time the run, or not what replay needs.
        RunLockedError: the run is being written.
    """
    timed = current_timings(run.folder, run.config.grid)
    check_can_validate(timed, run.folder.read(Timing), settings, environment_key(describe_environment()))
    plan = make_plan(run.config, surroundings.catalog)
    with run.folder.locked():
        check_continues(run.folder, plan)
        stages = _Stages(run.folder, plan, surroundings)
        stages.generate_end_to_end(settings, Reference(timed[0].prompt_tokens, timed[0].new_tokens))
        stages.report()


class _Stages:
    """The stages of one run; keeps the last loaded model, since two stages use each."""

    def __init__(self, folder: RunFolder, plan: Plan, surroundings: Surroundings) -> None:
        self._folder, self._plan, self._surroundings = folder, plan, surroundings
        config = plan.config
        self._options = LoadOptions(
            device=config.device,
            dtype=config.dtype,
            state_dtype=config.state_dtype,
            state_interval=config.state_interval,
            compile=config.compile,
            kernels=config.kernels,
        )
        self._loaded: tuple[str, Model] | None = None

    def sample(self) -> None:
        """Generate the completions that are missing."""
        have = existing_samples(self._folder)
        for series in self._plan.series():
            graded = self._plan.tasks[series.task]
            # Greedy decoding gives the same text every time: one sample says it all.
            samples = self._plan.config.samples if series.temperature > 0 else 1
            job = SampleJob(
                series=series,
                requests=missing_requests(graded.task, graded.problems.values(), samples, have.get(series, {})),
                sampling=self._plan.sampling(series),
                batch_size=self._plan.config.batch_size,
                origin=self._plan.models[series.model].origin,
            )
            if job.requests:
                job.run(self._folder, self._model(series.model), self._surroundings.progress)

    def grade(self) -> None:
        """Grade the completions that have no grade."""
        grade(self._folder, self._plan.tasks, self._surroundings.progress)

    def score(self) -> None:
        """Score the completions that have no scores, if the run has a reward model, and time that."""
        config = self._plan.config
        if config.reward_model is None:
            return
        self._loaded = None  # a reward model needs the memory
        grid = config.grid if config.grid is not None and config.grid.times_verifier else None
        scorer = find_scorer(config.reward_model, self._surroundings.catalog, self._options, grid, seed=config.seed)
        scorer.run(self._folder, self._plan.tasks, self._surroundings.score_clock(), self._surroundings.progress)

    def measure(self) -> None:
        """Time the cells of the grid that have no time."""
        grid = self._plan.config.grid
        if grid is None:
            return
        grid = settled_grid(self._folder, grid, self._plan.config.state_interval)
        grid = spanning_contexts(self._folder, grid) if grid.spans_contexts else grid
        environment = describe_environment()
        key = environment_key(environment)
        for ref, source in self._plan.models.items():
            choice = self._plan.engines[ref]
            if not any(remaining_work(self._folder, ref, engine, grid, key).trials for engine in choice.able):
                continue
            model = self._model(ref)
            clock = self._surroundings.clock_for(model)
            engines = {engine: choice.load(engine, model, self._options) for engine in choice.able}
            record = EnvironmentRecord(self._folder, key)
            record.add_model(environment_entry(environment), ref, model)
            record.add_engines(ref, engines, choice.unable)
            Measurement(
                name=ref,
                model=model,
                grid=grid,
                environment=key,
                clock=clock,
                seed=self._plan.config.seed,
                weights=source.weights,
                rates=record.rates(source, self._options, clock),
                engines=engines,
            ).run(self._folder, self._surroundings.progress)

    def generate_end_to_end(self, settings: EndToEndSettings, reference: Reference) -> None:
        """Generate some problems again, one at a time, and record the wall clock where that is missing."""
        for series in self._plan.series():
            graded = self._plan.tasks[series.task]
            chosen = some_problems(series.task, list(graded.problems), settings.problems)
            job = EndToEndJob(
                series=series,
                prompts=[graded.task.prompt(graded.problems[problem]) for problem in chosen],
                samples=settings.samples if series.temperature > 0 else 1,
                repeats=settings.repeats,
                sampling=self._plan.sampling(series),
                reference=reference,
                environment=environment_key(describe_environment()),
                origin=self._plan.models[series.model].origin,
            )
            if job.missing(self._folder):
                model = self._model(series.model)
                job.run(self._folder, model, self._surroundings.clock_for(model), self._surroundings.progress)

    def report(self) -> None:
        """Compute the curves and write the report."""
        write_curves(self._folder, self._plan.config, self._plan.aggregators, self._surroundings.progress)
        write_run_report(self._folder)

    def _model(self, ref: str) -> Model:
        if self._loaded is None or self._loaded[0] != ref:
            self._loaded = None  # free the last one before the next is loaded
            self._loaded = (ref, self._plan.models[ref].load(self._options))
        return self._loaded[1]


def _update_json(folder: RunFolder, name: str, entries: dict[str, Any]) -> None:  # Any: JSON-ready
    folder.write_json(name, {**(folder.read_json(name) or {}), **entries})


def settled_grid(folder: RunFolder, grid: TimingGrid, state_interval: int = 1) -> TimingGrid:
    """Return the grid with its lengths filled in from the run's own samples.

    All models of a run are timed at the same lengths. Lengths already timed are kept when samples are added, so that
    a growing run stays on one grid. New tokens are a multiple of `state_interval`, as in a grid that says how many.
    """
    if grid.prompt_tokens and grid.new_tokens is not None:
        return grid
    if (timed := next(folder.read(Timing), None)) is not None:
        own_prompt_tokens, own_new_tokens = timed.prompt_tokens, timed.new_tokens
    else:
        prompts, lengths = _lengths(folder)
        own_prompt_tokens = max(1, round(statistics.median(prompts)))
        own_new_tokens = max(1, round(statistics.fmean(lengths) / state_interval)) * state_interval
    return replace(
        grid,
        prompt_tokens=grid.prompt_tokens or (own_prompt_tokens,),
        new_tokens=grid.new_tokens or own_new_tokens,
    )


def _lengths(folder: RunFolder) -> tuple[list[int], list[int]]:
    prompts, lengths = [], []
    for completion in folder.read(Completion):
        if completion.finish != "error" and completion.num_prompt_tokens and completion.num_tokens:
            prompts.append(completion.num_prompt_tokens)
            lengths.append(completion.num_tokens)
    if not prompts:
        raise RunError(
            f"{folder.path} holds no finished completion to take the timing lengths from: "
            "give --prompt-tokens and --new-tokens"
        )
    return prompts, lengths
