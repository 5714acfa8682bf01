"""`timetrial lm-eval`: lm-eval's tasks here, timetrial's tasks there, and both graders on the same texts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.options import print_json, print_tables
from timetrial.error import TimetrialError, UsageError
from timetrial.progress import bar, silent
from timetrial.report.table import Table
from timetrial.runner import Run
from timetrial_plugins.lm_eval_tasks.comparison import GraderComparison, compare_graders
from timetrial_plugins.lm_eval_tasks.comparison_tables import comparison_tables
from timetrial_plugins.lm_eval_tasks.definition import read_definition
from timetrial_plugins.lm_eval_tasks.export import export_task
from timetrial_plugins.lm_eval_tasks.kinds import usable_filters
from timetrial_plugins.lm_eval_tasks.reference import parse_reference
from timetrial_plugins.lm_eval_tasks.task import load_named

_FILE = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("lm-eval")
def lm_eval() -> None:
    """Bridges to lm-eval: its generation tasks here, timetrial's tasks there, and both graders on the same texts."""


@lm_eval.command()
@click.argument("names", nargs=-1, required=True)
@_json
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Say which of lm-eval's tasks NAMES can be run as lm-eval:NAME, how they are graded, and why others cannot.

    No data is read. Exits with 2 if one cannot be run.
    """
    found = [_checked(name) for name in names]
    if as_json:
        print_json(found)
    else:
        columns = ("task", "graded by", "filters", "shots", "most tokens", "why not")
        rows = tuple(tuple(_cell(item[column]) for column in columns) for item in found)
        print_tables([Table(title="lm-eval's tasks", columns=columns, rows=rows, num_text_columns=len(columns))])
    if any(item["why not"] for item in found):
        raise click.exceptions.Exit(2)


@lm_eval.command()
@click.argument("task")
@click.argument("folder", type=_FILE)
@click.option("--data", type=_FILE, help="Read the problems from a file.")
def export(task: str, folder: Path, data: Path | None) -> None:
    """Write timetrial's TASK to FOLDER, for `lm_eval --include_path FOLDER --tasks timetrial_TASK` with any model."""
    path = export_task(task, folder, open_catalog(), data)
    click.echo(f"{path}: lm_eval --include_path {folder} --tasks {path.stem} --apply_chat_template")


@lm_eval.command("compare-graders")
@click.argument("run", type=_FILE)
@click.option("--with", "theirs", metavar="NAME", required=True, help="lm-eval's task: minerva_math500, gsm8k, ...")
@click.option("--task", help="The run's task to compare on. [default: its only one]")
@click.option("--show", type=int, default=20, show_default=True, help="So many of the completions that differ.")
@_json
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def compare(run: Path, theirs: str, task: str | None, show: int, as_json: bool, quiet: bool) -> None:
    """Let a task of lm-eval grade the stored completions of RUN beside timetrial's verdicts, and list the differences.

    lm-eval's extraction and metric run in a process that is ended if it hangs. RUN is not changed.
    """
    opened = Run.open(run)
    definition = read_definition(parse_reference(theirs))
    comparisons = compare_graders(opened, _task_of(opened, task), definition, silent if quiet else bar)
    if as_json:
        print_json([_to_json(comparison) for comparison in comparisons])
    else:
        print_tables(comparison_tables(comparisons, show))


def _checked(name: str) -> dict[str, Any]:  # Any: JSON values
    try:
        task = load_named(name, None)
    except TimetrialError as error:
        return {
            "task": name,
            "graded by": None,
            "filters": (),
            "shots": None,
            "most tokens": None,
            "why not": str(error),
        }
    return {
        "task": name,
        "graded by": task.grader.name,
        "filters": tuple(usable_filters(task.definition.config)),
        "shots": task.documents.shots,
        "most tokens": task.max_tokens,
        "why not": None,
    }


def _cell(value: Any) -> str:  # Any: JSON values
    return "-" if value in (None, ()) else ", ".join(value) if isinstance(value, tuple) else str(value)


def _task_of(run: Run, task: str | None) -> str:
    if task in run.config.tasks or (task is None and len(run.config.tasks) == 1):
        return task or run.config.tasks[0]
    asked = "no --task is given" if task is None else f"--task {task!r} is none of its tasks"
    raise UsageError(f"{run.path}: {asked}; it has {', '.join(run.config.tasks) or 'none'}")


def _to_json(comparison: GraderComparison) -> dict[str, Any]:  # Any: JSON values
    counts = [
        {"timetrial": ours, "lm_eval": theirs, "count": count} for (ours, theirs), count in comparison.counts.items()
    ]
    return {**dataclasses.asdict(comparison), "counts": counts}
