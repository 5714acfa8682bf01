"""`timetrial score`: score stored runs with reward models, and see what that is worth and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.options import NAMES, flatten, print_json, print_tables
from timetrial.cli.reductions import reduction_options, with_reduction
from timetrial.cli.summary import summary
from timetrial.error import UsageError
from timetrial.progress import bar, silent
from timetrial.report.curve_tables import best_tables, samples_tables
from timetrial.report.score_tables import score_tables
from timetrial.report.table import without_repeated_notes
from timetrial.runner import Run, Surroundings
from timetrial.scoring import ScoreRequest, score_run
from timetrial.spec import LoadOptions
from timetrial.stages.report import REPORT_FOLDER, gather_report


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--reward-model", "-r", "reward_models", type=NAMES, multiple=True, required=True,
    help="NAME or NAME:REF (`timetrial aggregators`); each keeps scores of its own.",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
@click.option(
    "--time/--no-time", "is_timed", default=None,
    help="Measure what scoring takes.  [default: if the run's models were timed on this machine]",
)  # fmt: skip
@click.option("--again", "drops_old", is_flag=True, help="Drop what these reward models left before, and start over.")
@reduction_options
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def score(runs: tuple[Path, ...], **flags: Any) -> None:  # Any: click passes every option by name
    """Score RUNS with reward models, from their stored texts, and report again.

    Only completions without scores are scored, so the same command continues an interrupted one, and a run that has
    grown. Imports are scored like runs. The reward model is timed at the batches that the run's models were timed at.
    """
    request = ScoreRequest(
        reward_models=flatten(flags["reward_models"]),
        options=LoadOptions(device=flags["device"], dtype=flags["dtype"]),
        is_timed=flags["is_timed"],
        drops_old=flags["drops_old"],
    )
    for name in request.reward_models:
        if request.reward_models.count(name) > 1:
            raise UsageError(f"reward model {name!r} is given {request.reward_models.count(name)} times: name it once")
    surroundings = Surroundings(catalog=open_catalog(), progress=silent if flags["quiet"] else bar)
    outcomes = []
    for run in [with_reduction(Run.open(path), flags["reduction"], flags["gamma"]) for path in runs]:
        done = score_run(run, request, surroundings)
        scored = [{"reward_model": name, **each._asdict()} for name, each in done.items()]
        outcomes.append({**summary(run), "done": scored})
        if not flags["as_json"]:
            _print(run, request.reward_models)
    if flags["as_json"]:
        print_json(outcomes)


def _print(run: Run, reward_models: tuple[str, ...]) -> None:
    report = gather_report(run.folder)
    of_scores = [curve for curve in report.curves if curve.reward_model in reward_models]
    tables = [*score_tables(report), *samples_tables(of_scores), *best_tables(report.curves)]
    print_tables(without_repeated_notes(tables))
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"report: {run.path / REPORT_FOLDER / 'index.html'}")
