"""What a publisher names as parents, checked against the registry: a mistyped teacher must not become lineage."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from timetrial_registry.error import RegistryError, UnknownVersionError
from timetrial_registry.index import find
from timetrial_registry.records import Parent, Provenance, Version
from timetrial_registry.reference import is_reference

_OUTSIDE = frozenset({"data", "config"})
"""Roles of things that are no checkpoints, so never versions here."""


def resolve_parents(connection: sqlite3.Connection, provenance: Provenance) -> Provenance:
    """Return a provenance whose parents here are named `name@3`, each with its digest.

    A teacher, init or stage_parent without a slash must be a version here, unless its publisher gives a digest.

    Raises:
        UnknownVersionError: a parent is not here.
        RegistryError: a parent has another digest than its publisher says, or stands twice in one role.
    """
    parents = tuple(_resolve(connection, parent) for parent in provenance.parents)
    named = [(parent.role, parent.ref) for parent in parents]
    double = next((pair for pair in named if named.count(pair) > 1), None)
    if double is not None:
        raise RegistryError(f"the {double[0]} {double[1]!r} is given twice: once is enough")
    return replace(provenance, parents=parents)


def _resolve(connection: sqlite3.Connection, parent: Parent) -> Parent:
    if parent.role in _OUTSIDE or not is_reference(parent.ref):
        return parent
    version = _find(connection, parent)
    if version is None:
        return parent
    if parent.digest is not None and not version.digest.startswith(parent.digest):
        raise RegistryError(
            f"the {parent.role} {parent.ref!r} is {version.ref} here, with the digest {version.digest}, but the "
            f"provenance says {parent.digest}. Correct one of them."
        )
    return replace(parent, ref=version.ref, digest=version.digest)


def _find(connection: sqlite3.Connection, parent: Parent) -> Version | None:
    try:
        return find(connection, parent.ref)
    except UnknownVersionError as cause:
        if parent.digest is not None:
            return None
        raise UnknownVersionError(
            f"{cause} It is named as the {parent.role}: publish it first, or name it where it is (a Hub id like "
            "org/name, a folder), or give its digest."
        ) from cause
