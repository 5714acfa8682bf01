"""What a finished run prints: the best configurations at a few budgets, warnings, and where the page is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import click

from timetrial.cli.options import print_tables
from timetrial.cli.registering import lines
from timetrial.record import to_json
from timetrial.registering import Attached
from timetrial.report.curve_tables import best_tables, samples_tables
from timetrial.report.data import GradingStatistics, ScoringStatistics
from timetrial.report.engine_tables import missing_engines
from timetrial.report.grading_tables import grading_tables
from timetrial.report.grid import timing_cells
from timetrial.report.scales import report_speed_ups
from timetrial.report.score_tables import score_tables
from timetrial.report.table import without_repeated_notes
from timetrial.report.timing_tables import measured_tables
from timetrial.runner import Run
from timetrial.stages.report import REPORT_FOLDER, gather_report


def summary(run: Run, attached: Sequence[Attached] | None = None) -> dict[str, Any]:  # Any: JSON-ready
    """Return the outcome of a run for scripts, with what became of its figures if they were to be registered."""
    report = gather_report(run.folder)
    cells = timing_cells(report.timings)
    return {
        "run": str(run.path),
        "page": str(run.path / REPORT_FOLDER / "index.html"),
        "warnings": list(report.warnings),
        "grading": [_grading(each) for each in report.grading],
        "scoring": [_scoring(each) for each in report.scoring],
        "curves": [to_json(curve) for curve in report.curves],
        "timings": [to_json(timing) for timing in report.timings],
        "batches": [cell.to_json() for cell in cells],
        "missing_engines": [each.to_json() for each in missing_engines(report)],
        "speed_ups": [each.to_json() for each in report_speed_ups(report)],
        **({} if attached is None else {"registered": [dataclasses.asdict(each) for each in attached]}),
    }


def _grading(series: GradingStatistics) -> dict[str, Any]:  # Any: JSON-ready
    accuracy, at_most = series.accuracy_bounds
    counts = {name: value for name, value in dataclasses.asdict(series).items() if name != "series"}
    return {
        **series.series._asdict(),
        "num_completions": series.num_completions,
        "accuracy": accuracy,
        "accuracy_at_most": at_most,
        **counts,
        "unknown": dict(series.unknown),
    }


def _scoring(series: ScoringStatistics) -> dict[str, Any]:  # Any: JSON-ready
    counts = {name: value for name, value in dataclasses.asdict(series).items() if name != "series"}
    return {**series.series._asdict(), **counts, "unscored": dict(series.unscored)}


def print_summary(run: Run, attached: Sequence[Attached] | None = None) -> None:
    """Print the outcome of a run for people, with what became of its figures if they were to be registered."""
    report = gather_report(run.folder)
    tables = [
        *samples_tables(report.curves),
        *grading_tables(report.grading),
        *score_tables(report),
        *measured_tables(report),
        *best_tables(report.curves),
    ]
    print_tables(without_repeated_notes(tables))
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    for line in lines(attached or ()):
        click.echo(line, err=True)
    click.echo(f"report: {run.path / REPORT_FOLDER / 'index.html'}")
