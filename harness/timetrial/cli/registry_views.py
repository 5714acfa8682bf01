"""Versions of the registry as rows for tables and for scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import click

from timetrial.report.table import Table
from timetrial_registry.evaluation import figure_name, scaled
from timetrial_registry.figures import SHARES
from timetrial_registry.records import Finding, Metric, Version
from timetrial_registry.registry import Registry

Row = dict[str, Any]  # Any: JSON-ready

SHORT_DIGEST = 12


def version_row(version: Version, *, is_shipped: bool) -> Row:
    """Return what a listing says of a version, for a script."""
    row = {field.name: getattr(version, field.name) for field in dataclasses.fields(version)}
    del row["manifest_json"]
    return {"ref": version.ref, **row, "is_shipped": is_shipped}


def model_table(groups: Iterable[tuple[Version, int, str | None, bool]], title: str) -> Table:
    """Return a line for each model: its latest version, how many it has, its description, whether it is shipped."""
    return Table(
        title=title,
        columns=("latest", "aliases", "stage", "about", "digest", "created", "versions", "size"),
        num_text_columns=6,
        rows=tuple(
            (
                *(latest.ref, ", ".join(latest.aliases), latest.stage or "", description or ""),
                *(latest.digest[:SHORT_DIGEST], "shipped" if is_shipped else day(latest.created_at)),
                *(str(number), readable_bytes(latest.size)),
            )
            for latest, number, description, is_shipped in groups
        ),
    )


def version_table(versions: Iterable[Version], title: str) -> Table:
    """Return a line for each version."""
    return Table(
        title=title,
        columns=("version", "aliases", "stage", "state", "digest", "created", "by", "size"),
        num_text_columns=7,
        rows=tuple(
            (
                *(version.ref, ", ".join(version.aliases), version.stage or "", version.state),
                *(version.digest[:SHORT_DIGEST], day(version.created_at), version.created_by),
                readable_bytes(version.size),
            )
            for version in versions
        ),
    )


def metric_table(metrics: Iterable[Metric], title: str) -> Table:
    """Return a line for each figure; `--json` has all that a figure depends on."""
    return Table(
        title=title,
        columns=("data", "figure", "on", "run", "attached", "value", "error", "problems", "seconds"),
        num_text_columns=5,
        rows=tuple(
            (
                *("/".join(part for part in (metric.dataset, metric.split) if part), _figure(metric)),
                *(metric.params.get("hardware", ""), (metric.run_digest or "")[:SHORT_DIGEST], day(metric.at or "")),
                *(_shown(metric, metric.value), _shown(metric, metric.stderr)),
                *("" if metric.n is None else str(metric.n), _seconds(metric.params.get("seconds"))),
            )
            for metric in metrics
        ),
    )


def _figure(metric: Metric) -> str:
    samples = metric.params.get("k")
    return figure_name(metric) if samples is None else f"{figure_name(metric)}, k={samples}"


def _shown(metric: Metric, value: float | None) -> str:
    if value is None:
        return ""
    return f"{scaled(metric, value):.4g}{' %' if metric.metric in SHARES else ''}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def finding_table(findings: Iterable[Finding], title: str) -> Table:
    """Return a line for each finding."""
    rows = tuple((finding.severity, finding.kind, finding.subject, finding.detail) for finding in findings)
    return Table(title=title, columns=("severity", "kind", "subject", "detail"), num_text_columns=4, rows=rows)


def readable_bytes(number: int) -> str:
    """Return a number of bytes in a unit that can be read."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"


def day(stamp: str) -> str:
    """Return the day and minute of an ISO 8601 time."""
    return stamp[:16].replace("T", " ")


def say_how_it_is_kept(registry: Registry) -> None:
    """Tell on stderr that a registry's file system cannot be trusted with SQLite's locks, if so."""
    storage = registry.storage()
    if storage is not None and storage.mode == "lock_file":
        click.echo(
            f"note: {registry.path}: {storage.reason}. A lock file guards every access.",
            err=True,
        )
