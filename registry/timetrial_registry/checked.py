"""Which blobs have been hashed and found right, remembered by size, time and inode so that loading does not hash again.

A flipped bit on the disk changes none of the three: `verify` hashes everything whatever is remembered.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from timetrial_registry.digest import file_digest
from timetrial_registry.progress import Advance, ignore


class Fingerprint(NamedTuple):
    """What tells that a file is still the one that was hashed."""

    size: int
    mtime_ns: int
    inode: int


def fingerprint(blob: Path) -> Fingerprint | None:
    """Return a blob's fingerprint, or None if it is not there."""
    try:
        status = blob.stat()
    except FileNotFoundError:
        return None
    return Fingerprint(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def is_checked(connection: sqlite3.Connection, blob: Path) -> bool:
    """Whether a blob is there, as it was when it was found right."""
    row = connection.execute("SELECT size, mtime_ns, inode FROM checked_blob WHERE sha256 = ?", (blob.name,)).fetchone()
    return row is not None and fingerprint(blob) == Fingerprint(*row)


def confirm(blob: Path, advance: Advance = ignore) -> Fingerprint | None:
    """Hash a blob, and return its fingerprint if its content is what its name says."""
    before = fingerprint(blob)
    return before if before is not None and file_digest(blob, advance) == blob.name else None


def remember(connection: sqlite3.Connection, blob: Path) -> None:
    """Note that a blob has just been found right."""
    found = fingerprint(blob)
    if found is not None:
        connection.execute("INSERT OR REPLACE INTO checked_blob VALUES (?, ?, ?, ?)", (blob.name, *found))


def forget(connection: sqlite3.Connection, sha256: str) -> None:
    """Drop what is remembered of a blob."""
    connection.execute("DELETE FROM checked_blob WHERE sha256 = ?", (sha256,))
