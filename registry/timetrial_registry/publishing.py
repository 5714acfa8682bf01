"""How a folder becomes a version: whole or not at all, and only once, whoever does what at the same time.

1. Every file is copied into a staging folder; the copies are hashed, and the weights among them checked.
2. Under the database's write lock the files become blobs, the folder takes its place, the rows are inserted.
3. The commit makes it a version. Killed before that, it leaves nothing that any reference can reach.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from timetrial_registry.checked import Fingerprint, confirm, fingerprint, is_checked, remember
from timetrial_registry.checkpoint import read_config
from timetrial_registry.contents import Contents, SourceFile, check_weights, media_type, read_contents
from timetrial_registry.database import Database
from timetrial_registry.digest import file_digest
from timetrial_registry.error import RegistryError
from timetrial_registry.index import find, insert_version, record_event
from timetrial_registry.parents import resolve_parents
from timetrial_registry.progress import Advance, ProgressFactory, silent
from timetrial_registry.records import FileEntry, Manifest, Provenance, Version
from timetrial_registry.reference import check_name
from timetrial_registry.store import Store
from timetrial_registry.tensors import TensorHash, combine, start_hashing

_CHUNK_BYTES = 1 << 18
_NUM_THREADS = min(4, os.cpu_count() or 1) + 1
"""To hash; one of them is mostly waiting for the disk."""

AtStep = Callable[[str], None]
"""Called between the steps of a publication, with the name of the one just done: tests stop it there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What a publisher hands in."""

    name: str
    folder: Path
    provenance: Provenance
    description: str | None
    by: str


def publish(
    database: Database,
    store: Store,
    submission: Submission,
    progress: ProgressFactory = silent,
    at_step: AtStep = lambda step: None,
) -> Version:
    """Publish a folder, or return the version of the same name that already is the same.

    Raises:
        RegistryError: a wrong name, an unknown parent, no room, or a registry that cannot be written.
        CheckpointError: the folder is no checkpoint, or holds something that must not be published.
    """
    check_name(submission.name)
    with database.read() as connection:
        provenance = resolve_parents(connection, submission.provenance)
    try:
        contents = read_contents(submission.folder)
        database.create()
        _check_room(store.folder, contents.size)
        with store.staged() as staged:
            at_step("staged")
            with progress(f"publish {submission.name}", 2 * contents.size + contents.weights_size) as advance:
                manifest = _bring(contents, staged, provenance, _Watch(advance=advance, at_step=at_step))
            sound = _confirm_blobs(database, store, manifest)
            with database.write() as connection:
                at_step("locked")
                version = _Entry(connection, store, submission, contents, sound).enter(staged, manifest, at_step)
            at_step("committed")
    except OSError as cause:
        raise RegistryError(f"publishing {submission.folder} failed, and nothing is published: {cause}") from cause
    return version


@dataclass(frozen=True, kw_only=True, slots=True)
class _Watch:
    """Who is told how far it is."""

    advance: Advance
    at_step: AtStep


def _bring(contents: Contents, staged: Path, provenance: Provenance, watch: _Watch) -> Manifest:
    """Copy the files into the staging folder, on the disk when this returns, and say what they are.

    What is hashed is the copy, by other threads, while the next file is copied.
    """
    brought: list[tuple[SourceFile, Future[str], Future[None]]] = []
    tensors: list[TensorHash] = []
    weights = {path.relative_to(contents.folder).as_posix() for path in contents.weights}
    with ThreadPoolExecutor(_NUM_THREADS) as executor:
        try:
            for file in contents.files:
                copy = staged / file.path
                copy.parent.mkdir(parents=True, exist_ok=True)
                _copy(file.source, copy, watch.advance)
                watch.at_step(f"copied {file.path}")
                syncing = executor.submit(_sync, copy)
                brought.append((file, executor.submit(file_digest, copy, watch.advance), syncing))
                if file.path in weights:
                    tensors += start_hashing(copy, executor, watch.advance)
            tensor_digest = combine(tensors)
            files = tuple(_entry(file.path, staged / file.path, hashing.result()) for file, hashing, _ in brought)
            for _, _, syncing in brought:
                syncing.result()
        except BaseException:
            executor.shutdown(cancel_futures=True)  # nobody needs the other hashes now
            raise
    check_weights(staged)  # again: what was copied counts, not what was there before
    watch.at_step("copied")
    return Manifest(files=files, tensor_digest=tensor_digest, config=read_config(staged), provenance=provenance)


def _entry(path: str, copy: Path, sha256: str) -> FileEntry:
    return FileEntry(path=path, size=copy.stat().st_size, sha256=sha256, media_type=media_type(path))


def _copy(source: Path, target: Path, advance: Advance) -> None:
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with source.open("rb", buffering=0) as reader, target.open("xb") as writer:
        while size := reader.readinto(buffer):
            writer.write(buffer[:size])
            advance(size)


def _sync(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _confirm_blobs(database: Database, store: Store, manifest: Manifest) -> dict[str, Fingerprint]:
    """Hash the blobs that are there already but not known to be right, as in a registry that was copied."""
    with database.read() as connection:
        blobs = [store.blob(file.sha256) for file in manifest.files]
        doubtful = [blob for blob in blobs if blob.exists() and not is_checked(connection, blob)]
    return {blob.name: found for blob in doubtful if (found := confirm(blob)) is not None}


@dataclass(frozen=True, slots=True)
class _Entry:
    """What makes staged files a version, within one transaction."""

    connection: sqlite3.Connection
    store: Store
    submission: Submission
    contents: Contents
    sound: Mapping[str, Fingerprint]
    """Blobs that were hashed just now and found right."""

    def enter(self, staged: Path, manifest: Manifest, at_step: AtStep) -> Version:
        """Give blobs, folder and rows their places."""
        for file in manifest.files:
            blob = self.store.blob(file.sha256)
            is_sound = file.sha256 in self.sound and self.sound[file.sha256] == fingerprint(blob)
            is_trusted = is_sound or is_checked(self.connection, blob)
            self.store.keep(staged / file.path, file.sha256, is_trusted=is_trusted)
            remember(self.connection, blob)
            at_step(f"kept {file.path}")
        if not self.store.holds(manifest.digest, manifest.files):
            self.store.install(staged, manifest.digest)
        at_step("installed")
        version = self._insert(manifest)
        at_step("inserted")
        return version

    def _insert(self, manifest: Manifest) -> Version:
        name, by = self.submission.name, self.submission.by
        row = self.connection.execute(
            "SELECT version, state FROM version WHERE name = ? AND digest = ?", (name, manifest.digest)
        ).fetchone()
        number = insert_version(self.connection, name, manifest, by) if row is None else row["version"]
        if row is None:
            record_event(self.connection, "published", f"{name}@{number}", self._account(), by)
        elif row["state"] == "deleted":
            revive = "UPDATE version SET state = 'ready', deleted_at = NULL WHERE name = ? AND version = ?"
            self.connection.execute(revive, (name, number))
            record_event(self.connection, "revived", f"{name}@{number}", self._account(), by)
        if self.submission.description is not None:
            describe = "UPDATE model SET description = ? WHERE name = ?"
            self.connection.execute(describe, (self.submission.description, name))
        return find(self.connection, f"{name}@{number}")

    def _account(self) -> str:
        left_out = ", ".join(file.path for file in self.contents.left_out)
        return f"{len(self.contents.files)} files{f'; left out: {left_out}' if left_out else ''}"


def _check_room(folder: Path, size: int) -> None:
    """Refuse before copying what the disk cannot hold."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise RegistryError(f"{folder} has {free:,} bytes free, and {size:,} are needed. Make room, then try again.")
