"""Deleting a version: its number, manifest and metrics stay, its files go with the next collection."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from timetrial_registry.aliases import Order, move
from timetrial_registry.error import RegistryError
from timetrial_registry.index import find, record_event, select_versions
from timetrial_registry.records import UNSET, Ref, Version


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """What is to be deleted, and how."""

    ref: Ref
    is_forced: bool
    """Whether it goes although an alias leads to it or a kept version was made from it."""
    reason: str | None
    by: str


def delete(connection: sqlite3.Connection, deletion: Deletion) -> Version:
    """Mark a version as deleted, and return it.

    Raises:
        UnknownVersionError: there is no such version, or it is deleted already.
        RegistryError: an alias leads to it, or a kept version was made from it.
    """
    version = find(connection, deletion.ref)
    if not deletion.is_forced:
        _refuse_if_needed(connection, version)
    for alias in version.aliases:
        reason = deletion.reason or f"{version.ref} was deleted"
        order = Order(name=version.name, alias=alias, new=None, expected=UNSET, reason=reason, by=deletion.by)
        move(connection, order)
    connection.execute(
        "UPDATE version SET state = 'deleted', deleted_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') "
        "WHERE name = ? AND version = ?",
        (version.name, version.version),
    )
    record_event(connection, "deleted", version.ref, deletion.reason or "", deletion.by)
    return find(connection, version, deleted=True)


def _refuse_if_needed(connection: sqlite3.Connection, version: Version) -> None:
    if version.aliases:
        raise RegistryError(
            f"{version.ref} is {', '.join(f'{version.name}@{alias}' for alias in version.aliases)}: move the alias "
            "first, or force the deletion"
        )
    condition = "digest IN (SELECT child FROM edge WHERE parent = ?)"
    children = select_versions(connection, condition, (version.digest,))
    twins = select_versions(connection, "digest = ?", (version.digest,))
    if children and len(twins) == 1:
        raise RegistryError(
            f"{', '.join(child.ref for child in children[:5])} was made from {version.ref}: delete it first, or force "
            "the deletion (the files are kept until `gc --prune-lineage`)"
        )
