"""Grade a run or an import anew: from its stored texts and problems alone, without a model and without the data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from timetrial.blame import blaming
from timetrial.catalog import Catalog
from timetrial.changes import SeriesChanges
from timetrial.config import RunConfig, config_to_json
from timetrial.error import RunError, UnknownNameError
from timetrial.graders import NamedGraders, load_graders
from timetrial.plan import CONFIG_FILE, recorded_plugins
from timetrial.progress import ProgressFactory, silent
from timetrial.record import Completion
from timetrial.runner import Run
from timetrial.spec import Origin
from timetrial.stages.derive import write_curves
from timetrial.stages.grade import GradedTask
from timetrial.stages.regrade import regrade
from timetrial.stages.report import read_problems, write_run_report


def regrade_run(
    run: Run, catalog: Catalog, progress: ProgressFactory = silent, *, is_dry: bool = False
) -> tuple[SeriesChanges, ...]:
    """Grade a run anew by the graders its config names, compute its curves and report again; return what changed.

    The old grades stand until all new ones are on disk: whoever is interrupted starts again and has lost nothing.
    With `is_dry` nothing is written, not even a lock.

    Raises:
        RunError: the run holds no texts, or not the problems they are about.
        RunLockedError: the run is being written.
        UnknownNameError: its task, or a grader, is not installed.
    """
    if next(run.folder.read(Completion), None) is None:
        raise RunError(
            f"{run.path} holds no completions, so there is no text to grade: expected a run that has sampled, or an "
            "import of completions rather than of counts"
        )
    graders = load_graders(run.config.grader, run.config.second_opinion, catalog)
    tasks = _graded_tasks(run, catalog, graders)
    aggregators = {name: catalog.aggregator(name) for name in run.config.aggregators}
    if is_dry:
        return regrade(run.folder, tasks, progress, is_dry=True)
    with run.folder.locked():
        changes = regrade(run.folder, tasks, progress)
        _record_graders(run, tasks, [*(catalog.tasks()[name].origin for name in tasks), *graders.origins])
        write_curves(run.folder, run.config, aggregators, progress)
        write_run_report(run.folder)
    return changes


def _graded_tasks(run: Run, catalog: Catalog, graders: NamedGraders) -> dict[str, GradedTask]:
    tasks = {}
    for name in run.config.tasks:
        if name not in catalog.tasks():
            hint = f"{run.path} was sampled on it: install the plugin that offers it."
            raise UnknownNameError("task", name, catalog.tasks(), hint)
        problems = read_problems(run.path, name)
        if not problems:
            raise RunError(f"{run.path} has no problems-{name}.jsonl, and without it no gold answers to grade against")
        offer = catalog.tasks()[name]
        with blaming(f"task {name!r}", offer.origin):
            task = offer.spec.load(_data_file(run.config, name))
            tasks[name] = GradedTask(task=task, problems=problems, graders=graders.of(task))
    return tasks


def _data_file(config: RunConfig, task: str) -> Path | None:
    """Return the data file the task was given, if it is still there: only extraction and grading are used of it."""
    path = dict(config.data).get(task)
    return Path(path) if path is not None and Path(path).is_file() else None


def _record_graders(run: Run, tasks: dict[str, GradedTask], plugins: Iterable[Origin]) -> None:
    facts = run.folder.read_json(CONFIG_FILE)
    for name, task in tasks.items():
        kept = {fact: value for fact, value in facts["tasks"][name].items() if fact != "grader"}
        facts["tasks"][name] = {**kept, "grading": task.graders.facts()}
    facts["plugins"] = {**facts["plugins"], **recorded_plugins(plugins)}
    facts["config"] = config_to_json(run.config)
    run.folder.write_json(CONFIG_FILE, facts)
