"""What a finished run prints: the best configurations at a few budgets, warnings, and where the page is."""

from __future__ import annotations

from typing import Any

import click

from timetrial.cli.options import print_tables
from timetrial.record import to_json
from timetrial.report.curve_tables import best_tables, samples_tables
from timetrial.report.grid import timing_cells
from timetrial.report.tables import timing_tables
from timetrial.runner import Run
from timetrial.stages.report import REPORT_FOLDER, gather_report


def summary(run: Run) -> dict[str, Any]:  # Any: JSON-ready
    """Return the outcome of a run for scripts."""
    report = gather_report(run.folder)
    return {
        "run": str(run.path),
        "page": str(run.path / REPORT_FOLDER / "index.html"),
        "warnings": list(report.warnings),
        "curves": [to_json(curve) for curve in report.curves],
        "timings": [to_json(timing) for timing in report.timings],
    }


def print_summary(run: Run) -> None:
    """Print the outcome of a run for people."""
    report = gather_report(run.folder)
    print_tables(
        [*samples_tables(report.curves), *timing_tables(timing_cells(report.timings)), *best_tables(report.curves)]
    )
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"report: {run.path / REPORT_FOLDER / 'index.html'}")
