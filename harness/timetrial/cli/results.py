"""`timetrial report`, `leaderboard` and `compare`: from run folders to pages, rankings and differences."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from timetrial.analysis import analysis_to_json
from timetrial.catalog import open_catalog
from timetrial.cli.general_report import check_general_flags, general_options, report_general
from timetrial.cli.options import flatten, print_json, print_tables
from timetrial.cli.reductions import reduction_options, with_reduction
from timetrial.cli.registering import attach_figures
from timetrial.cli.summary import print_summary, summary
from timetrial.compare import compare_runs
from timetrial.error import UsageError
from timetrial.graded_by import different_graders
from timetrial.progress import bar, silent
from timetrial.record import Curve, from_json, to_json
from timetrial.registered_curves import disagreements, registered_curves
from timetrial.registries import open_registries
from timetrial.report.analysis_tables import difference_tables
from timetrial.report.leaderboard import Leaderboard, RunCurves, on_machine, rank
from timetrial.report.leaderboard_table import leaderboard_tables
from timetrial.runner import Run, refresh_report
from timetrial.stages.derive import CURVES_FILE, current_timings

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN|REF]...")
@_json
@click.option("--register-metrics", is_flag=True, help="Attach the figures to the registry's versions they are of.")
@reduction_options
@general_options
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def report(runs: tuple[str, ...], **flags: Any) -> None:  # Any: click passes every option by name
    """Compute the curves of RUNS and write their figures, tables and pages again.

    With --general, report from the registry instead: reasoning against general benchmarks, by stage of distillation and
    over all checkpoints (the paper's figure 11), for all versions that have figures or for those that are named. Run
    folders add the figures of versions that nothing can be attached to.
    """
    check_general_flags(flags)
    if flags["is_general"]:
        report_general(runs, flatten(flags["benchmarks"]), flags["out"], as_json=flags["as_json"])
        return
    if not runs:
        raise UsageError("no run given: name run folders, or pass --general to report what the registry holds")
    catalog = open_catalog()
    opened = [with_reduction(Run.open(Path(path)), flags["reduction"], flags["gamma"]) for path in runs]
    summaries = []
    for run in opened:
        refresh_report(run, catalog, silent if flags["quiet"] else bar)
        attached = attach_figures(run, catalog) if flags["register_metrics"] else None
        if flags["as_json"]:
            summaries.append(summary(run, attached))
        else:
            print_summary(run, attached)
    if flags["as_json"]:
        print_json(summaries)


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN|REF]...")
@click.option("--registry", "from_registry", is_flag=True, help="Rank versions of the registry by attached figures.")
@click.option(
    "--budget", "budget_s", type=float, required=True, metavar="SECONDS", help="Seconds per problem, scoring included."
)
@click.option("--coverage", "with_coverage", is_flag=True, help="Rank coverage too: a perfect verifier's score.")
@click.option("--machine", metavar="TEXT", help="Rank only what was timed on the machine whose name holds this.")
@click.option("--mix-machines", is_flag=True, help="Rank seconds of different machines together.")
@_json
def leaderboard(runs: tuple[str, ...], from_registry: bool, as_json: bool, **flags: Any) -> None:  # Any: click's values
    """Rank what run folders offer within a budget: model, temperature, samples and rule.

    With --registry, rank versions of the registry instead: all that have figures, or those that are named (NAME for all
    versions of a model, NAME@ALIAS, NAME@3, sha256:...).
    """
    curves = _registered(runs) if from_registry else _of_runs(runs)
    board = rank(
        on_machine(curves, flags["machine"]) if flags["machine"] else curves,
        flags["budget_s"],
        mix_machines=flags["mix_machines"],
        with_coverage=flags["with_coverage"],
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


def _of_runs(paths: tuple[str, ...]) -> list[RunCurves]:
    if not paths:
        raise UsageError("no run given: name run folders, or pass --registry to rank what the registry holds")
    opened = [Run.open(path) for path in paths]
    _warn_of_graders(*opened)
    return [_run_curves(run) for run in opened]


def _registered(refs: tuple[str, ...]) -> list[RunCurves]:
    found = registered_curves(open_registries(open_catalog()), refs)
    for line in disagreements(found):
        click.echo(f"warning: {line}", err=True)
    return [item.curves for item in found]


def _warn_of_graders(*runs: Run) -> None:
    for line in different_graders({str(run.path): run.task_facts for run in runs}):
        click.echo(f"warning: {line}", err=True)


def _run_curves(run: Run) -> RunCurves:
    stored = run.folder.read_json(CURVES_FILE) or {"curves": []}
    machines = {row.environment for row in current_timings(run.folder, run.config.grid)}
    return RunCurves(
        run=str(run.path),
        curves=tuple(from_json(Curve, curve) for curve in stored["curves"]),
        machines=tuple(sorted(machines)),
    )


def _print_board(board: Leaderboard) -> None:
    print_tables(leaderboard_tables(board))
    for item in board.unranked:
        click.echo(f"not ranked: {item.curve} of {item.run}: {item.reason}", err=True)
