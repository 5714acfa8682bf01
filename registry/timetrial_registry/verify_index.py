"""Checks of the database: sound pages, manifests that have their digests, aliases that lead somewhere, no cycles."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from graphlib import CycleError, TopologicalSorter

from timetrial_registry.error import TimetrialError
from timetrial_registry.index import insert_edges
from timetrial_registry.problem import Problem, problem
from timetrial_registry.records import Manifest, Version


def check_database(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Ask SQLite whether its file is sound, and whether rows refer to rows that are there."""
    for (complaint,) in connection.execute("PRAGMA integrity_check"):
        if complaint != "ok":
            yield problem("database", "registry.db", str(complaint))
    for table, row, other, _ in connection.execute("PRAGMA foreign_key_check"):
        if table != "alias":  # dangling aliases have a check of their own
            yield problem("database", "registry.db", f"row {row} of the table {table} refers to no {other}")


def check_aliases(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Find aliases of versions that are deleted, or that never were."""
    rows = connection.execute(
        "SELECT name, alias, version, state FROM alias LEFT JOIN version USING (name, version) "
        "WHERE state IS NOT 'ready' ORDER BY name, alias"
    )
    for name, alias, number, state in rows:
        detail = f"it leads to {name}@{number}, which {'is deleted' if state else 'is not there'}"
        yield problem("dangling_alias", f"{name}@{alias}", detail, mend=partial(_drop_alias, name, alias, number))


def check_cycles(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Find a version that was made from itself, which only a changed database can say."""
    graph: dict[str, set[str]] = defaultdict(set)
    for child, parent in connection.execute("SELECT child, parent FROM edge WHERE parent IS NOT NULL"):
        graph[child].add(parent)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names = dict(connection.execute("SELECT digest, name || '@' || version FROM version"))
        circle = " <- ".join(names.get(digest, digest[:12]) for digest in error.args[1])
        yield problem("cycle", circle.partition(" ")[0], f"it was made from itself: {circle}")


def check_manifests(connection: sqlite3.Connection, versions: Iterable[Version]) -> Iterator[Problem]:
    """Compare every manifest with its digest, and what is repeated elsewhere with the manifest."""
    edges: dict[str, set[tuple[str, str, str | None, str | None]]] = defaultdict(set)
    for child, *edge in connection.execute("SELECT child, role, ref, parent, revision FROM edge"):
        edges[child].add(tuple(edge))
    for version in versions:
        if hashlib.sha256(version.manifest_json.encode()).hexdigest() != version.digest:
            yield problem("manifest", version.ref, f"it is not what its digest {version.digest[:12]} says")
            continue
        try:
            manifest = version.manifest
        except TimetrialError as error:
            yield problem("manifest", version.ref, str(error))
            continue
        if _repeated_in(version) != _repeated_in_manifest(manifest):
            yield problem("index", version.ref, "its stage, size or tensor digest is not what its manifest says")
        parents = manifest.provenance.parents
        said = {(parent.role, parent.ref, parent.digest, parent.revision) for parent in parents}
        if edges[version.digest] != said:
            mend = partial(_write_edges_again, version.digest, manifest)
            yield problem("index", version.ref, "the table of parents is not what its manifest says", mend=mend)


def _repeated_in(version: Version) -> tuple[str | None, int, str]:
    return version.stage, version.size, version.tensor_digest


def _repeated_in_manifest(manifest: Manifest) -> tuple[str | None, int, str]:
    return manifest.provenance.stage, sum(file.size for file in manifest.files), manifest.tensor_digest


def _drop_alias(name: str, alias: str, number: int, connection: sqlite3.Connection) -> str:
    dropped = connection.execute(
        "DELETE FROM alias WHERE name = ? AND alias = ? AND version = ?", (name, alias, number)
    ).rowcount
    if not dropped:
        return "moved meanwhile"
    connection.execute(
        "INSERT INTO alias_log (name, alias, old, new, by, reason) VALUES (?, ?, ?, NULL, 'verify', 'dangling')",
        (name, alias, number),
    )
    return "removed"


def _write_edges_again(digest: str, manifest: Manifest, connection: sqlite3.Connection) -> str:
    connection.execute("DELETE FROM edge WHERE child = ?", (digest,))
    insert_edges(connection, digest, manifest.provenance.parents)
    return "written again"
