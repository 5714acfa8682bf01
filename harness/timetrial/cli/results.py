"""`timetrial report`, `leaderboard` and `compare`: from run folders to pages, rankings and differences."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from timetrial.analysis import analysis_to_json
from timetrial.catalog import open_catalog
from timetrial.cli.options import print_json, print_tables
from timetrial.cli.summary import print_summary, summary
from timetrial.compare import compare_runs
from timetrial.graded_by import different_graders
from timetrial.progress import bar, silent
from timetrial.record import Curve, from_json, to_json
from timetrial.report.analysis_tables import difference_tables
from timetrial.report.leaderboard import Leaderboard, RunCurves, rank
from timetrial.report.leaderboard_table import leaderboard_tables
from timetrial.runner import Run, refresh_report
from timetrial.stages.derive import CURVES_FILE, current_timings

_runs = click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_runs
@_json
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def report(runs: tuple[Path, ...], as_json: bool, quiet: bool) -> None:
    """Compute the curves of RUNS and write their figures, tables and pages again."""
    catalog = open_catalog()
    opened = [Run.open(path) for path in runs]
    for run in opened:
        refresh_report(run, catalog, silent if quiet else bar)
        if not as_json:
            print_summary(run)
    if as_json:
        print_json([summary(run) for run in opened])


@click.command()
@_runs
@click.option("--budget", "budget_s", type=float, required=True, metavar="SECONDS", help="Decode seconds per problem.")
@click.option("--coverage", "with_coverage", is_flag=True, help="Rank coverage too: a perfect verifier's score.")
@click.option("--mix-machines", is_flag=True, help="Rank seconds of different machines together.")
@_json
def leaderboard(
    runs: tuple[Path, ...], budget_s: float, with_coverage: bool, mix_machines: bool, as_json: bool
) -> None:
    """Rank what RUNS offer within a budget: model, temperature, samples and rule."""
    opened = [Run.open(path) for path in runs]
    _warn_of_graders(*opened)
    board = rank(
        [_run_curves(run) for run in opened],
        budget_s,
        mix_machines=mix_machines,
        with_coverage=with_coverage,
    )
    if as_json:
        print_json(dataclasses.asdict(board))
        return
    _print_board(board)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("baseline", type=click.Path(path_type=Path))
@_json
def compare(run: Path, baseline: Path, as_json: bool) -> None:
    """Show how much better RUN is than BASELINE at equal numbers of samples, paired by problem."""
    opened = Run.open(run), Run.open(baseline)
    _warn_of_graders(*opened)
    made = compare_runs(*opened, open_catalog())
    if as_json:
        print_json({"curves": [to_json(curve) for curve in made.curves], "analysis": analysis_to_json(made.analysis)})
        return
    print_tables(difference_tables(made.analysis.comparisons, made.curves))


def _warn_of_graders(*runs: Run) -> None:
    for line in different_graders({str(run.path): run.task_facts for run in runs}):
        click.echo(f"warning: {line}", err=True)


def _run_curves(run: Run) -> RunCurves:
    stored = run.folder.read_json(CURVES_FILE) or {"curves": []}
    machines = {row.environment for row in current_timings(run.folder)}
    return RunCurves(
        run=str(run.path),
        curves=tuple(from_json(Curve, curve) for curve in stored["curves"]),
        machines=tuple(sorted(machines)),
    )


def _print_board(board: Leaderboard) -> None:
    print_tables(leaderboard_tables(board))
    for item in board.unranked:
        click.echo(f"not ranked: {item.curve} of {item.run}: {item.reason}", err=True)
