"""`timetrial grade`: grade stored runs anew, and say what that changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.options import grader_options, print_json, print_tables
from timetrial.config import NO_GRADER, OWN_GRADER
from timetrial.progress import bar, silent
from timetrial.regrading import regrade_run
from timetrial.report.regrade_tables import regrade_tables
from timetrial.runner import Run
from timetrial.stages.report import REPORT_FOLDER


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@grader_options(own="as before; own: each task's own", none="as before; none: nobody")
@click.option("--dry-run", is_flag=True, help="Say what would change, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what changed as JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def grade(runs: tuple[Path, ...], **flags: Any) -> None:  # Any: click passes every option by name
    """Grade RUNS anew from their stored texts and gold answers, and say what changed.

    No model is needed, and no data: imports are graded like runs. The old grades stand until all new ones are on disk.
    """
    catalog = open_catalog()
    opened = [_with_graders(Run.open(path), flags["grader"], flags["second_opinion"]) for path in runs]
    outcomes = []
    for run in opened:
        changes = regrade_run(run, catalog, silent if flags["quiet"] else bar, is_dry=flags["dry_run"])
        outcomes.append({"run": str(run.path), "series": [dataclasses.asdict(series) for series in changes]})
        if not flags["as_json"]:
            print_tables(regrade_tables(changes))
            page = run.path / REPORT_FOLDER / "index.html"
            click.echo(f"{run.path}: nothing was written" if flags["dry_run"] else f"report: {page}")
    if flags["as_json"]:
        print_json(outcomes)


def _with_graders(run: Run, grader: str | None, second_opinion: str | None) -> Run:
    """Return the run to be graded by others; None leaves who graded it."""
    config = run.config
    if grader is not None:
        config = dataclasses.replace(config, grader=None if grader == OWN_GRADER else grader)
    if second_opinion is not None:
        second = None if second_opinion == NO_GRADER else second_opinion
        config = dataclasses.replace(config, second_opinion=second)
    return dataclasses.replace(run, config=config)
