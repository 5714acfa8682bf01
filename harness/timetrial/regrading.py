"""Grade a run or an import anew: from its stored texts and problems alone, without a model and without the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from timetrial.blame import blaming
from timetrial.catalog import Catalog
from timetrial.changes import SeriesChanges
from timetrial.config import config_to_json
from timetrial.graders import NamedGraders, load_graders
from timetrial.plan import CONFIG_FILE, recorded_plugins
from timetrial.progress import ProgressFactory, silent
from timetrial.runner import Run
from timetrial.spec import Origin
from timetrial.stages.derive import write_curves
from timetrial.stages.grade import GradedTask
from timetrial.stages.regrade import regrade
from timetrial.stages.report import write_run_report
from timetrial.stored_tasks import StoredTask, stored_tasks


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
    stored = stored_tasks(run, catalog)
    graders = load_graders(run.config.grader, run.config.second_opinion, catalog)
    tasks = _graded_tasks(stored, graders)
    aggregators = {name: catalog.aggregator(name) for name in run.config.aggregators}
    if is_dry:
        return regrade(run.folder, tasks, progress, is_dry=True)
    with run.folder.locked():
        changes = regrade(run.folder, tasks, progress)
        _record_graders(run, tasks, [*(item.origin for item in stored.values()), *graders.origins])
        write_curves(run.folder, run.config, aggregators, progress)
        write_run_report(run.folder)
    return changes


def _graded_tasks(stored: Mapping[str, StoredTask], graders: NamedGraders) -> dict[str, GradedTask]:
    tasks = {}
    for name, item in stored.items():
        with blaming(f"task {name!r}", item.origin):
            tasks[name] = GradedTask(task=item.task, problems=item.problems, graders=graders.of(item.task))
    return tasks


def _record_graders(run: Run, tasks: dict[str, GradedTask], plugins: Iterable[Origin]) -> None:
    facts = run.folder.read_json(CONFIG_FILE)
    for name, task in tasks.items():
        kept = {fact: value for fact, value in facts["tasks"][name].items() if fact != "grader"}
        facts["tasks"][name] = {**kept, "grading": task.graders.facts()}
    facts["plugins"] = {**facts["plugins"], **recorded_plugins(plugins)}
    facts["config"] = config_to_json(run.config)
    run.folder.write_json(CONFIG_FILE, facts)
