"""Rows of the database as versions, and references as rows. Every function works within a transaction of its caller."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence

from timetrial_registry.error import RegistryError, UnknownVersionError
from timetrial_registry.records import Manifest, Parent, Ref, Version
from timetrial_registry.reference import Reference, did_you_mean, parse_reference

_COLUMNS = "name, version, digest, tensor_digest, stage, size, created_at, created_by, state"


def select_versions(
    connection: sqlite3.Connection, where: str = "1", values: Sequence[object] = (), *, deleted: bool = False
) -> tuple[Version, ...]:
    """Return the versions a condition holds for, by name and number."""
    states = "" if deleted else " AND state = 'ready'"
    aliases: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, alias, number in connection.execute("SELECT name, alias, version FROM alias ORDER BY alias"):
        aliases[name, number].append(alias)
    rows = connection.execute(
        f"SELECT {_COLUMNS}, manifest FROM version WHERE ({where}){states} ORDER BY name, version", values
    )
    return tuple(
        Version(
            name=row[0],
            version=row[1],
            digest=row[2],
            tensor_digest=row[3],
            stage=row[4],
            size=row[5],
            created_at=row[6],
            created_by=row[7],
            state=row[8],
            aliases=tuple(aliases.get((row[0], row[1]), ())),
            manifest_json=row[9],
        )
        for row in rows
    )


def find(connection: sqlite3.Connection, ref: Ref, *, deleted: bool = False) -> Version:
    """Return the version a reference names. A digest under several names gives the first by name.

    Raises:
        RegistryError: the reference has no form of one, or its digest is not long enough to be one version's.
        UnknownVersionError: there is none, or it is deleted; offers the closest.
    """
    reference = Reference(name=ref.name, number=ref.version) if isinstance(ref, Version) else parse_reference(ref)
    if reference.digest_prefix is not None:
        return _find_digest(connection, reference.digest_prefix, deleted=deleted)
    assert reference.name is not None, "see parse_reference"
    check_known(connection, reference.name)
    if reference.alias is not None:
        return _find_number(connection, reference.name, _aliased(connection, reference.name, reference.alias), deleted)
    if reference.number is not None:
        version = _find_number(connection, reference.name, reference.number, deleted)
        if isinstance(ref, Version) and version.digest != ref.digest:
            raise UnknownVersionError(f"{ref.ref} of another registry is not the one that is here.")
        return version
    latest = "name = ? AND version = (SELECT max(version) FROM version WHERE name = ? AND (? OR state = 'ready'))"
    found = select_versions(connection, latest, (reference.name, reference.name, deleted), deleted=deleted)
    if not found:
        raise UnknownVersionError(f"all versions of {reference.name!r} are deleted.")
    return found[0]


def check_known(connection: sqlite3.Connection, name: str) -> None:
    """Refuse a name that has no versions.

    Raises:
        UnknownVersionError: offers the closest name.
    """
    names = [row[0] for row in connection.execute("SELECT name FROM model ORDER BY name")]
    if name not in names:
        raise UnknownVersionError(f"the registry holds no model {name!r}: {did_you_mean(name, names)}")


def of_digest(connection: sqlite3.Connection, digest: str, *, deleted: bool = False) -> Version | None:
    """Return the version of a whole digest, the first by name if several names have it."""
    return next(iter(select_versions(connection, "digest = ?", (digest,), deleted=deleted)), None)


def insert_version(connection: sqlite3.Connection, name: str, manifest: Manifest, by: str) -> int:
    """Insert a version under the next number of its name, and return the number."""
    text, provenance = manifest.canonical_json(), manifest.provenance
    connection.execute("INSERT OR IGNORE INTO model (name) VALUES (?)", (name,))
    highest = "SELECT coalesce(max(version), 0) FROM version WHERE name = ?"
    number: int = connection.execute(highest, (name,)).fetchone()[0] + 1
    size = sum(file.size for file in manifest.files)
    connection.execute(
        "INSERT INTO version (name, version, digest, tensor_digest, manifest, stage, size, created_by) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (name, number, manifest.digest, manifest.tensor_digest, text, provenance.stage, size, by),
    )
    insert_edges(connection, manifest.digest, provenance.parents)
    return number


def insert_edges(connection: sqlite3.Connection, digest: str, parents: Iterable[Parent]) -> None:
    """Write what a manifest says of parents into the table that lineage is asked of."""
    connection.executemany(
        "INSERT OR IGNORE INTO edge (child, role, ref, parent, revision) VALUES (?, ?, ?, ?, ?)",
        [(digest, parent.role, parent.ref, parent.digest, parent.revision) for parent in parents],
    )


def record_event(connection: sqlite3.Connection, kind: str, subject: str, detail: str, by: str) -> None:
    """Append to the log of events."""
    connection.execute("INSERT INTO event (kind, subject, detail, by) VALUES (?, ?, ?, ?)", (kind, subject, detail, by))


def _aliased(connection: sqlite3.Connection, name: str, alias: str) -> int:
    numbers = dict(connection.execute("SELECT alias, version FROM alias WHERE name = ? ORDER BY alias", (name,)))
    if alias not in numbers:
        hint = did_you_mean(alias, numbers) if numbers else "it has none."
        raise UnknownVersionError(f"the model {name!r} has no alias {alias!r}: {hint}")
    number = numbers[alias]
    assert isinstance(number, int)
    return number


def _find_number(connection: sqlite3.Connection, name: str, number: int, deleted: bool) -> Version:
    found = select_versions(connection, "name = ? AND version = ?", (name, number), deleted=True)
    if not found:
        (highest,) = connection.execute("SELECT max(version) FROM version WHERE name = ?", (name,)).fetchone()
        raise UnknownVersionError(f"the model {name!r} has no version {number}: expected 1 to {highest}.")
    if found[0].state == "deleted" and not deleted:
        raise UnknownVersionError(f"{name}@{number} is deleted. Publishing the same files again brings it back.")
    return found[0]


def _find_digest(connection: sqlite3.Connection, prefix: str, *, deleted: bool) -> Version:
    found = select_versions(connection, "digest >= ? AND digest < ?", (prefix, f"{prefix}g"), deleted=deleted)
    digests = {version.digest for version in found}
    if len(digests) > 1:
        shown = ", ".join(f"{version.ref} ({version.digest[:16]})" for version in found[:3])
        raise RegistryError(f"sha256:{prefix} begins the digests of {shown}: give more digits")
    if not found:
        raise UnknownVersionError(f"the registry holds no version whose digest begins with {prefix!r}.")
    return found[0]
