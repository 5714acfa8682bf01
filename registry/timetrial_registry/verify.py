"""Whether everything published is still what it was. Nothing is changed unless mending is asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace

from timetrial_registry.collect import Policy, plan
from timetrial_registry.database import Database
from timetrial_registry.error import RegistryError
from timetrial_registry.index import record_event, select_versions
from timetrial_registry.problem import Problem, problem
from timetrial_registry.progress import ProgressFactory, ignore
from timetrial_registry.records import Finding, Version
from timetrial_registry.store import Store
from timetrial_registry.verify_files import Content, check_folders, contents_of, describe_damage, find_damage
from timetrial_registry.verify_index import check_aliases, check_cycles, check_database, check_manifests


def verify(
    database: Database, store: Store, progress: ProgressFactory, *, mend_by: str | None = None
) -> tuple[Finding, ...]:
    """Check the database, and every byte that a ready version needs.

    Args:
        database: the index.
        store: the files.
        progress: opens a bar over the bytes that are hashed.
        mend_by: in whose name problems are mended; None mends nothing.

    Raises:
        RegistryError: the registry cannot be read at all, or not be written.
    """
    with database.read() as connection:
        versions = select_versions(connection)
        problems = [
            *check_database(connection),
            *check_aliases(connection),
            *check_cycles(connection),
            *check_manifests(connection, versions),
        ]
    problems += _check_files(database, store, versions, progress)
    with database.read() as connection:
        problems += [*_note_storage(database), *_note_debris(connection, store)]
    if mend_by is None:
        return tuple(found.finding for found in problems)
    return tuple(_mend(database, found, mend_by) for found in problems)


def _check_files(
    database: Database, store: Store, versions: Sequence[Version], progress: ProgressFactory
) -> Iterator[Problem]:
    contents = contents_of(versions)
    with progress("verify", sum(content.size for content in contents)) as advance:
        suspects = find_damage(store, contents, advance)
    damaged: list[Content] = []
    if suspects:  # hashing took a while: versions may have been deleted or mended since
        with database.read() as connection:
            versions = select_versions(connection)
        suspicious = {content.sha256 for content, _ in suspects}
        again = [content for content in contents_of(versions) if content.sha256 in suspicious]
        for content, damage in find_damage(store, again, ignore):
            damaged.append(content)
            yield describe_damage(store, content, damage)
    yield from check_folders(store, versions, damaged)


def _note_storage(database: Database) -> Iterator[Problem]:
    if database.path.exists() and (storage := database.storage()).mode == "lock_file":
        detail = f"{storage.reason}. A lock file guards every access: safe, but slow with many readers."
        yield problem("storage", str(database.path.parent), detail, "note")


def _note_debris(connection: sqlite3.Connection, store: Store) -> Iterator[Problem]:
    """Name what a killed process left; none of it is part of any version."""
    try:
        removed = plan(connection, store, Policy(grace_s=0)).removed
    except RegistryError:  # a manifest is damaged, which is a finding of its own
        removed = ()
    for item in removed:
        if item.is_debris:
            yield problem(f"orphan_{item.kind}", item.subject, f"{item.reason}; gc removes it", "note")
    for path in sorted(store.quarantine.glob("*")):
        detail = "it was damaged and put aside; delete it when you need it no more"
        yield problem("quarantined", path.relative_to(store.folder).as_posix(), detail, "note")


def _mend(database: Database, found: Problem, by: str) -> Finding:
    if found.mend is None:
        return found.finding
    with database.write() as connection:
        done = found.mend(connection)
        record_event(connection, "repaired", found.finding.subject, f"{found.finding.kind}: {done}", by)
    return replace(found.finding, detail=f"{found.finding.detail}; {done}")
