"""What is said of a version once it is published: metrics, tags, notes, events. None of it is part of its identity."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping

from timetrial_registry.error import RegistryError
from timetrial_registry.records import Event, Metric, Note, Version

_METRIC_COLUMNS = "dataset, metric, value, revision, split, stderr, n, params, run_digest"


def attach(connection: sqlite3.Connection, version: Version, metrics: Iterable[Metric]) -> int:
    """Append metrics and return how many of them are new: the same figure of the same run is kept once.

    Raises:
        RegistryError: a value is no finite number, or contradicts one that the same run gave before.
    """
    return sum(_attach(connection, version, metric) for metric in metrics)


def _attach(connection: sqlite3.Connection, version: Version, metric: Metric) -> bool:
    if not all(number is None or math.isfinite(number) for number in (metric.value, metric.stderr)):
        raise RegistryError(
            f"{metric.metric} of {metric.dataset} is {metric.value} with standard error {metric.stderr}: expected "
            "finite numbers"
        )
    params = json.dumps(dict(metric.params), sort_keys=True, separators=(",", ":"))
    before = _same_of_run(connection, version, metric, params)
    figure = (metric.value, metric.stderr, metric.n)
    if before is not None:
        if before != figure:
            raise RegistryError(
                f"run {metric.run_digest} has given {version.ref} {metric.metric} = {before[0]} on {metric.dataset} "
                f"before, and now {metric.value}. One run has one figure: give another digest to another run."
            )
        return False
    values = (
        *(version.name, version.version, metric.dataset, metric.metric, metric.value, metric.revision, metric.split),
        *(metric.stderr, metric.n, params, metric.run_digest),
    )
    connection.execute(
        f"INSERT INTO metric (name, version, {_METRIC_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
    )
    return True


def _same_of_run(
    connection: sqlite3.Connection, version: Version, metric: Metric, params: str
) -> tuple[float, float | None, int | None] | None:
    """Return value, standard error and number of the same figure of the same run, if it was attached before."""
    if metric.run_digest is None:
        return None
    row = connection.execute(
        "SELECT value, stderr, n FROM metric WHERE name = ? AND version = ? AND run_digest = ? AND dataset = ? "
        "AND metric = ? AND revision IS ? AND split IS ? AND params = ?",
        (
            *(version.name, version.version, metric.run_digest, metric.dataset),
            *(metric.metric, metric.revision, metric.split, params),
        ),
    ).fetchone()
    return None if row is None else tuple(row)


def metrics_of(connection: sqlite3.Connection, versions: Iterable[Version]) -> tuple[tuple[Version, Metric], ...]:
    """Return the metrics of versions, in the order they were attached."""
    by_key = {(version.name, version.version): version for version in versions}
    if len(by_key) == 1:
        rows = connection.execute(
            f"SELECT name, version, at, {_METRIC_COLUMNS} FROM metric WHERE name = ? AND version = ? ORDER BY id",
            next(iter(by_key)),
        )
    else:
        rows = connection.execute(f"SELECT name, version, at, {_METRIC_COLUMNS} FROM metric ORDER BY id")
    found = []
    for row in rows:
        fields = dict(row)
        version = by_key.get((fields.pop("name"), fields.pop("version")))
        if version is not None:
            found.append((version, Metric(**{**fields, "params": json.loads(fields["params"])})))
    return tuple(found)


def set_tag(connection: sqlite3.Connection, version: Version, key: str, value: str | None) -> None:
    """Set a tag, or with None remove it.

    Raises:
        RegistryError: the key is empty.
    """
    if not key.strip():
        raise RegistryError("a tag needs a key: expected something like quantised=no")
    if value is None:
        where = "name = ? AND version = ? AND key = ?"
        connection.execute(f"DELETE FROM tag WHERE {where}", (version.name, version.version, key))
    else:
        connection.execute(
            "INSERT OR REPLACE INTO tag (name, version, key, value) VALUES (?, ?, ?, ?)",
            (version.name, version.version, key, value),
        )


def tags_of(connection: sqlite3.Connection, version: Version) -> Mapping[str, str]:
    """Return the tags of a version by key."""
    rows = connection.execute(
        "SELECT key, value FROM tag WHERE name = ? AND version = ? ORDER BY key", (version.name, version.version)
    )
    return {row["key"]: row["value"] for row in rows}


def add_note(connection: sqlite3.Connection, version: Version, text: str, by: str) -> None:
    """Append a note."""
    connection.execute(
        "INSERT INTO note (name, version, text, by) VALUES (?, ?, ?, ?)", (version.name, version.version, text, by)
    )


def notes_of(connection: sqlite3.Connection, version: Version) -> tuple[Note, ...]:
    """Return the notes on a version, oldest first."""
    rows = connection.execute(
        "SELECT text, at, by FROM note WHERE name = ? AND version = ? ORDER BY id", (version.name, version.version)
    )
    return tuple(Note(**dict(row)) for row in rows)


def events_of(connection: sqlite3.Connection, version: Version | None) -> tuple[Event, ...]:
    """Return what happened to a version, or to everything, oldest first."""
    subject = None if version is None else version.ref
    rows = connection.execute(
        "SELECT kind, subject, detail, at, by FROM event WHERE ? IS NULL OR subject = ? ORDER BY id", (subject, subject)
    )
    return tuple(Event(**dict(row)) for row in rows)
