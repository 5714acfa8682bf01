"""The tasks of a run on disk: the installed plugin's, with the problems that the run stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from timetrial.blame import blaming
from timetrial.catalog import Catalog
from timetrial.config import RunConfig
from timetrial.error import RunError, UnknownNameError
from timetrial.protocol import Task
from timetrial.record import Completion, Problem
from timetrial.runner import Run
from timetrial.spec import Origin
from timetrial.stages.report import read_problems
from timetrial.store import problems_file


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTask:
    """A task of a run."""

    task: Task
    problems: Mapping[str, Problem]
    """By id."""
    origin: Origin


def stored_tasks(run: Run, catalog: Catalog) -> dict[str, StoredTask]:
    """Return the tasks of a run by name, with the problems it stored.

    Raises:
        RunError: the run holds no completions, or not the problems they are about.
        UnknownNameError: a task is not installed.
    """
    if next(run.folder.read(Completion), None) is None:
        raise RunError(
            f"{run.path} holds no completions, so there is no text to grade or score: expected a run that has sampled, "
            "or an import of completions rather than of counts"
        )
    return {name: _stored_task(run, name, catalog) for name in run.config.tasks}


def _stored_task(run: Run, name: str, catalog: Catalog) -> StoredTask:
    try:
        offer = catalog.task_offer(name)
    except UnknownNameError as cause:
        hint = f"{run.path} was sampled on it: install the plugin that offers it."
        raise UnknownNameError("task", name, catalog.tasks(), hint) from cause
    problems = read_problems(run.path, name)
    if not problems:
        raise RunError(
            f"{run.path} has no {problems_file(name)}, and without it neither questions nor gold answers to go by"
        )
    with blaming(f"task {name!r}", offer.origin):
        task = offer.spec.load(_data_file(run.config, name))
    return StoredTask(task=task, problems=problems, origin=offer.origin)


def _data_file(config: RunConfig, task: str) -> Path | None:
    """Return the data file the task was given, if it is still there: only prompt, extraction and grader are used."""
    path = dict(config.data).get(task)
    return Path(path) if path is not None and Path(path).is_file() else None
