"""Score a run or an import on disk with reward models, time those, and report again. Nothing is sampled."""

from __future__ import annotations

from dataclasses import dataclass

from timetrial.config import TimingGrid, powers_up_to
from timetrial.environment import describe_environment, environment_key
from timetrial.plan import CONFIG_FILE, recorded_plugins
from timetrial.runner import Run, Surroundings, refresh_report
from timetrial.scorer import Done, find_scorer, forget
from timetrial.spec import LoadOptions
from timetrial.stages.derive import current_timings
from timetrial.stored_tasks import stored_tasks


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRequest:
    """What to score a run with."""

    reward_models: tuple[str, ...]
    """By NAME or NAME:REF. Each has scores of its own."""
    options: LoadOptions = LoadOptions()
    is_timed: bool | None = None
    """Whether to measure what scoring takes; None: if the run's models were timed on this machine."""
    drops_old: bool = False
    """Drop the scores and timings that these reward models left before."""


def score_run(run: Run, request: ScoreRequest, surroundings: Surroundings) -> dict[str, Done]:
    """Score what is not scored yet, time what is not timed, and report again; return what each reward model did.

    Whoever is interrupted starts again and has lost nothing but the problem or batch at hand.

    Raises:
        ConfigMismatchError: another reward model has scored the run under the same name.
        RunError: the run holds no texts, or not the problems they are about.
        RunLockedError: the run is being written.
        UnknownNameError: a reward model, or the run's task, is not installed.
    """
    catalog = surroundings.catalog
    grid = _grid(run) if _is_timed(run, request) else None
    scorers = [
        find_scorer(name, catalog, request.options, grid, seed=run.config.seed) for name in request.reward_models
    ]
    tasks = stored_tasks(run, catalog)
    done = {}
    for scorer in scorers:
        with run.folder.locked():
            if request.drops_old:
                forget(run.folder, scorer.name)
            done[scorer.name] = scorer.run(run.folder, tasks, surroundings.score_clock(), surroundings.progress)
            facts = run.folder.read_json(CONFIG_FILE)
            plugins = {**facts["plugins"], **recorded_plugins([scorer.offer.origin])}
            run.folder.write_json(CONFIG_FILE, {**facts, "plugins": plugins})
    refresh_report(run, catalog, surroundings.progress)
    return done


def _is_timed(run: Run, request: ScoreRequest) -> bool:
    if request.is_timed is not None:
        return request.is_timed
    timed = current_timings(run.folder, run.config.grid)
    return bool(timed) and timed[0].environment == environment_key(describe_environment())


def _grid(run: Run) -> TimingGrid:
    """Return the batches the run's models were timed at, else the powers of two up to its samples."""
    return run.config.grid or TimingGrid(batches=powers_up_to(run.config.samples))
