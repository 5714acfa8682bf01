"""What nobody needs any more: files of deleted versions, and what was left behind by the killed.

Kept are the versions that are ready, all that they were made from, whatever a reader has leased, and anything younger
than the grace period. Files become a version's only under the database's write lock, which is held here too, so no
version that is just being published can lose any.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from timetrial_registry.checked import forget
from timetrial_registry.database import DATABASE_FILE, Database
from timetrial_registry.error import RegistryError, TimetrialError
from timetrial_registry.index import record_event, select_versions
from timetrial_registry.locking import is_held
from timetrial_registry.records import Manifest, Version
from timetrial_registry.storage import STORAGE_FILE
from timetrial_registry.store import Store, remove

Kind = Literal["version", "blob", "folder", "staging", "lease", "leftover"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """Something that is removed or, for a reason, kept though no ready version needs it."""

    kind: Kind
    subject: str
    """`name@3` of a deleted version; else the path within the registry."""
    size: int
    """In bytes, that only it takes up."""
    reason: str
    is_debris: bool = False
    """Whether a killed process left it, rather than somebody deleting a version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """What was removed, or would be."""

    is_dry_run: bool
    removed: tuple[Item, ...]
    kept: tuple[Item, ...]

    @property
    def size(self) -> int:
        """Of all that is removed, in bytes."""
        return sum(item.size for item in self.removed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How much to keep."""

    grace_s: float
    prune_lineage: bool = False
    """Whether a deleted version goes although a kept one was made from it."""


def collect(database: Database, store: Store, policy: Policy, *, dry_run: bool, by: str) -> Collection:
    """Remove what nobody needs, or with `dry_run` only say what that is.

    Raises:
        RegistryError: the registry cannot be read or written.
    """
    if dry_run or not database.path.exists():
        with database.read() as connection:
            return plan(connection, store, policy)
    try:
        with database.write() as connection:
            found = plan(connection, store, policy)
            for item in found.removed:
                _remove(connection, store, item, by)
    except OSError as cause:
        raise RegistryError(f"not everything could be removed: {cause}. What is gone was needed by nobody.") from cause
    return Collection(is_dry_run=False, removed=found.removed, kept=found.kept)


def plan(connection: sqlite3.Connection, store: Store, policy: Policy) -> Collection:
    """Decide on everything that no ready version needs."""
    judge = _Judge(connection, store, policy)
    items = [*judge.versions(), *judge.blobs(), *judge.folders(), *judge.passing()]
    return Collection(
        is_dry_run=True,
        removed=tuple(item for item, goes in items if goes),
        kept=tuple(item for item, goes in items if not goes),
    )


Verdict = tuple[Item, bool]
"""Whether the item goes."""


class _Judge:
    """Says of each thing in a registry folder whether it goes, and why.

    What versions need is read from their manifests, not from the tables made of them: those can be lost and made again.
    """

    def __init__(self, connection: sqlite3.Connection, store: Store, policy: Policy) -> None:
        self._connection = connection
        self._store = store
        self._policy = policy
        # The calendar time of the database, as seconds since 1970, to compare with times of files.
        self._now: float = connection.execute("SELECT (julianday('now') - 2440587.5) * 86400").fetchone()[0]
        self._versions = select_versions(connection, deleted=True)
        self._manifests = {version.digest: _manifest(version) for version in self._versions}
        self._ready = {version.digest for version in self._versions if version.state == "ready"}
        self._reasons = self._reasons_to_keep()
        kept = self._ready | self._reasons.keys()
        self._kept_blobs = {sha256 for digest in kept for sha256 in self._blobs_of(digest)}

    def versions(self) -> Iterator[Verdict]:
        """Judge the deleted versions that still have files."""
        for version in self._versions:
            if version.digest in self._ready:
                continue
            reason = self._reasons.get(version.digest)
            own = self._blobs_of(version.digest) - (set() if reason else self._kept_blobs)
            places = (self._store.version_folder(version.digest), *map(self._store.blob, own))
            if any(place.exists() for place in places):
                yield Item(kind="version", subject=version.ref, size=0, reason=reason or "deleted"), reason is None

    def blobs(self) -> Iterator[Verdict]:
        """Judge the blobs of no kept version."""
        known = {sha256 for digest in self._manifests for sha256 in self._blobs_of(digest)}
        for blob in sorted(self._store.all_blobs()):
            if blob.name in self._kept_blobs:
                continue
            if blob.name in known:
                yield self._item("blob", blob, "only deleted versions have it"), True
            else:
                yield self._by_age("blob", blob, "no version has it")

    def folders(self) -> Iterator[Verdict]:
        """Judge the folders of no kept version."""
        for folder in _entries(self._store.folders):
            if folder.name in self._ready or folder.name in self._reasons:
                continue
            if folder.name in self._manifests:
                yield self._item("folder", folder, "of a deleted version"), True
            else:
                yield self._by_age("folder", folder, "no version has it")

    def passing(self) -> Iterator[Verdict]:
        """Judge what should be there for a while only."""
        for staged in _entries(self._store.staging):
            lock = staged if staged.suffix == ".lock" else self._store.lock_of(staged)
            if is_held(lock):
                yield self._item("staging", staged, "a publication is under way"), False
            else:
                yield self._by_age("staging", staged, "left by a publication that was killed")
        for lease in _entries(self._store.leases):
            if is_held(lease):
                yield self._item("lease", lease, "a reader is using the version"), False
            else:
                yield self._by_age("lease", lease, "left by a reader that was killed")
        for path in _entries(self._store.folder):
            if _is_leftover(path.name):
                yield self._by_age("leftover", path, "left by a process that was killed")

    def _blobs_of(self, digest: str) -> set[str]:
        return {file.sha256 for file in self._manifests[digest].files}

    def _reasons_to_keep(self) -> dict[str, str]:
        """Return the digests of versions that are kept though deleted."""
        deleted = self._connection.execute("SELECT digest, deleted_at FROM version WHERE state = 'deleted'").fetchall()
        young = [row["digest"] for row in deleted if self._age_of_stamp(row["deleted_at"]) < self._policy.grace_s]
        leases = (path for path in _entries(self._store.leases) if is_held(path) or self._is_young(path))
        leased = [path.name.partition(".")[0] for path in leases]
        reasons = dict.fromkeys(young, "deleted within the grace period")
        if not self._policy.prune_lineage:
            reasons |= dict.fromkeys(self._made_from(self._ready), "a kept version was made from it")
        reasons |= dict.fromkeys(leased, "a reader is using it")
        return {digest: reason for digest, reason in reasons.items() if digest in self._manifests.keys() - self._ready}

    def _made_from(self, digests: set[str]) -> set[str]:
        """Return the versions here that others were made from, however far back."""
        seen: set[str] = set()
        waiting = list(digests)
        while waiting:
            manifest = self._manifests[waiting.pop()]
            parents = {parent.digest for parent in manifest.provenance.parents if parent.digest in self._manifests}
            new = {digest for digest in parents if digest is not None} - seen
            seen |= new
            waiting += new
        return seen

    def _age_of_stamp(self, stamp: str) -> float:
        (age,) = self._connection.execute("SELECT (julianday('now') - julianday(?)) * 86400", (stamp,)).fetchone()
        assert isinstance(age, float)
        return age

    def _by_age(self, kind: Kind, path: Path, reason: str) -> Verdict:
        if self._is_young(path):
            return self._item(kind, path, f"{reason}, but it is younger than the grace period"), False
        return replace(self._item(kind, path, reason), is_debris=True), True

    def _is_young(self, path: Path) -> bool:
        """Whether a file, or anything in a folder, was changed within the grace period."""
        times = [_changed_at(part) for part in (path, *path.rglob("*"))]
        return self._now - max(times) < self._policy.grace_s

    def _item(self, kind: Kind, path: Path, reason: str) -> Item:
        # A folder of a version takes up no room of its own: it links to blobs.
        files = [] if kind == "folder" else [path, *path.rglob("*")]
        size = sum(file.stat().st_size for file in files if file.is_file())
        subject = path.relative_to(self._store.folder).as_posix()
        return Item(kind=kind, subject=subject, size=size, reason=reason)


def _manifest(version: Version) -> Manifest:
    try:
        return version.manifest
    except TimetrialError as cause:
        raise RegistryError(
            f"the manifest of {version.ref} is damaged ({cause}): nobody can tell what it needs, so nothing is "
            "removed. See `timetrial registry verify`."
        ) from cause


def _entries(folder: Path) -> Iterable[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else ()


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # somebody's publication has just ended
        return 0.0


def _is_leftover(name: str) -> bool:
    """Whether a name in the registry folder is that of a draft: see `storage` and `database`."""
    return name.startswith(("locking-", f"{DATABASE_FILE}.", f"{STORAGE_FILE}.")) and not name.endswith(".creating")


def _remove(connection: sqlite3.Connection, store: Store, item: Item, by: str) -> None:
    record_event(connection, "collected", item.subject, item.reason, by)
    if item.kind == "version":
        return  # its folder and blobs are items of their own
    path = store.folder / item.subject
    if item.kind == "folder":
        store.discard(path)
    elif path.is_dir():
        remove(path)
    else:
        path.unlink(missing_ok=True)
    if item.kind == "blob":
        forget(connection, path.name)
