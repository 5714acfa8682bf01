"""What a finished run prints: the best configurations at a few budgets, warnings, and where the page is."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from timetrial.cli.options import print_tables
from timetrial.record import to_json
from timetrial.report.curve_tables import best_tables, samples_tables
from timetrial.report.data import GradingStatistics
from timetrial.report.grading_tables import grading_tables
from timetrial.report.grid import timing_cells
from timetrial.report.speed_ups import batch_speed_ups
from timetrial.report.table import without_repeated_notes
from timetrial.report.timing_tables import measured_tables
from timetrial.runner import Run
from timetrial.stages.report import REPORT_FOLDER, gather_report


def summary(run: Run) -> dict[str, Any]:  # Any: JSON-ready
    """Return the outcome of a run for scripts."""
    report = gather_report(run.folder)
    cells = timing_cells(report.timings)
    return {
        "run": str(run.path),
        "page": str(run.path / REPORT_FOLDER / "index.html"),
        "warnings": list(report.warnings),
        "grading": [_grading(each) for each in report.grading],
        "curves": [to_json(curve) for curve in report.curves],
        "timings": [to_json(timing) for timing in report.timings],
        "batches": [cell.to_json() for cell in cells],
        "speed_ups": [each.to_json() for each in batch_speed_ups(cells, report.baseline)],
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


def print_summary(run: Run) -> None:
    """Print the outcome of a run for people."""
    report = gather_report(run.folder)
    tables = [
        *samples_tables(report.curves),
        *grading_tables(report.grading),
        *measured_tables(report),
        *best_tables(report.curves),
    ]
    print_tables(without_repeated_notes(tables))
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"report: {run.path / REPORT_FOLDER / 'index.html'}")
