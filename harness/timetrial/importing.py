"""Make a run folder of published files, then grade it and draw its curves like any other run: no model is needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timetrial
from timetrial.catalog import Catalog
from timetrial.config import RunConfig, config_to_json
from timetrial.error import RunError, UsageError
from timetrial.graders import NamedGraders, load_graders
from timetrial.importer import Imported, ImportOptions, read_import
from timetrial.plan import CONFIG_FILE, recorded_plugins
from timetrial.progress import ProgressFactory, silent
from timetrial.record import Completion, Count, Problem, Series, StepScores
from timetrial.runner import Run, refresh_report
from timetrial.spec import Origin
from timetrial.stages.grade import GradedTask, grade
from timetrial.store import Appender, RunFolder, problems_file, write_problems

WRITE_EVERY = 1000


@dataclass(kw_only=True, slots=True)
class _Tally:
    """What has come in so far."""

    problems: dict[str, Problem]
    samples: dict[Series, dict[str, int]]
    reward_models: dict[str, None]

    def largest_pool(self) -> int:
        """Return the largest number of samples any problem has."""
        return max((size for sizes in self.samples.values() for size in sizes.values()), default=0)


def import_run(
    files: Sequence[Path], options: ImportOptions, out: Path, catalog: Catalog, *, progress: ProgressFactory = silent
) -> Run:
    """Import files into a new run folder, grade the completions and write the report.

    Several dumps of one model are pooled: the samples of the second are numbered after those of the first.

    Raises:
        RunError: the folder already holds a run.
        UnknownNameError: there is no grader of a name given.
        DataError: a file is not understood; names file and line. Nothing of the run is left then.
    """
    folder = RunFolder(out)
    graders = load_graders(options.grader, options.second_opinion, catalog)
    with folder.locked():
        if folder.read_json(CONFIG_FILE) is not None:
            raise RunError(f"{out} already holds a run: choose another --out")
        for kind in (Completion, StepScores, Count):
            folder.remove(kind)  # an import that broke off is started over
        tally = _Tally(problems={}, samples=defaultdict(lambda: defaultdict(int)), reward_models={})
        with folder.appending(Completion) as samples, folder.appending(StepScores) as scores:
            with folder.appending(Count) as counts:
                # Any: one appender per kind of record
                writers: dict[type[Any], Appender[Any]] = {Completion: samples, StepScores: scores, Count: counts}
                for path in files:
                    records = read_import(path, replace(options, first_sample=tally.largest_pool()))
                    with progress(f"import {path.name}", 0) as advance:
                        for number in _write(records, writers, tally):
                            advance(number)
        _remove_empty(folder)
        config = _config(tally, files, options)
        tasks = _graded_tasks(config, tally, catalog, graders)
        for name, task in tasks.items():
            write_problems(folder.path / problems_file(name), task.problems.values())
        grade(folder, tasks, progress)
        plugins = [*(catalog.task_offer(name).origin for name in tasks), *graders.origins]
        folder.write_json(CONFIG_FILE, _provenance(config, files, tasks, plugins))
    run = Run(folder=folder, config=config)
    refresh_report(run, catalog, progress)
    return run


def _write(
    records: Iterable[Imported],
    writers: dict[type[Any], Appender[Any]],  # Any: one appender per kind of record
    tally: _Tally,
) -> Iterable[int]:
    """Append the records in batches; yield how many problems each batch began."""
    waiting: dict[type[Any], list[Any]] = defaultdict(list)
    begun = 0
    for record in records:
        if isinstance(record, Problem):
            tally.problems[record.id] = record
            begun += 1
            continue
        _count_in(record, tally)
        waiting[type(record)].append(record)
        if sum(map(len, waiting.values())) >= WRITE_EVERY:
            _flush(waiting, writers)
            yield begun
            begun = 0
    _flush(waiting, writers)
    yield begun


def _flush(waiting: dict[type[Any], list[Any]], writers: dict[type[Any], Appender[Any]]) -> None:
    for kind, batch in waiting.items():
        writers[kind].append(batch)
        batch.clear()


def _count_in(record: Completion | StepScores | Count, tally: _Tally) -> None:
    series = Series(record.model, record.task, record.temperature)
    if isinstance(record, StepScores):
        tally.reward_models[record.reward_model] = None
    elif isinstance(record, Count):
        tally.samples[series][record.problem] += record.num_samples
    else:
        tally.samples[series][record.problem] += 1


def _remove_empty(folder: RunFolder) -> None:
    for kind in (Completion, StepScores, Count):
        if next(folder.read(kind), None) is None:
            folder.remove(kind)


def _config(tally: _Tally, files: Sequence[Path], options: ImportOptions) -> RunConfig:
    if not tally.samples:
        raise UsageError(f"there is no sample and no count in {', '.join(map(str, files))}")
    return RunConfig(
        models=tuple(dict.fromkeys(series.model for series in tally.samples)),
        tasks=tuple(dict.fromkeys(series.task for series in tally.samples)),
        temperatures=tuple(dict.fromkeys(series.temperature for series in tally.samples)),
        samples=tally.largest_pool(),
        reward_model=next(iter(tally.reward_models), None),
        grader=options.grader,
        second_opinion=options.second_opinion,
    )


def _graded_tasks(config: RunConfig, tally: _Tally, catalog: Catalog, graders: NamedGraders) -> dict[str, GradedTask]:
    if not tally.problems:  # counts carry no texts: there is nothing to grade
        return {}
    loaded = {name: catalog.task(name).load(None) for name in config.tasks}
    return {
        name: GradedTask(task=task, problems=dict(tally.problems), graders=graders.of(task))
        for name, task in loaded.items()
    }


def _provenance(
    config: RunConfig, files: Sequence[Path], tasks: dict[str, GradedTask], plugins: Sequence[Origin]
) -> dict[str, Any]:  # Any: JSON-ready
    return {
        "timetrial": timetrial.__version__,
        "config": config_to_json(config),
        "imported": [path.name for path in files],
        "models": {},
        "tasks": {
            name: {"problems": list(task.problems), "grading": task.graders.facts()} for name, task in tasks.items()
        },
        "plugins": recorded_plugins(plugins),
    }
