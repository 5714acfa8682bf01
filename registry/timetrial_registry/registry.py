"""The registry of checkpoints as its users see it: publish, find, load, trace, compare, keep."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from timetrial_registry import aliases, lineage, remarks
from timetrial_registry.collect import Collection, Policy, collect
from timetrial_registry.database import Database
from timetrial_registry.deletion import Deletion, delete
from timetrial_registry.index import check_known, find, record_event, select_versions
from timetrial_registry.location import default_folder
from timetrial_registry.progress import ProgressFactory, silent
from timetrial_registry.publishing import Submission, publish
from timetrial_registry.reader import Reader
from timetrial_registry.records import (
    UNSET,
    AliasMove,
    Event,
    Finding,
    LineageNode,
    Metric,
    Note,
    Provenance,
    Ref,
    Unset,
    Version,
)
from timetrial_registry.storage import Storage
from timetrial_registry.store import Store
from timetrial_registry.verify import verify

GRACE_S = 24 * 3600.0
"""How long what nobody needs is kept."""


class Registry:
    """A folder of immutable versions. One that does not exist reads as empty; the first write makes it.

    An instance holds no connection: threads and forked processes may share it. Wherever a version is asked for, a
    reference (see `timetrial_registry.reference`) or a `Version` will do. Every method raises RegistryError if the
    registry is busy for a minute, damaged or of a newer schema, and UnknownVersionError if there is no such version.
    """

    def __init__(self, folder: Path | str | None = None, *, read_only: bool = False) -> None:
        """Open a folder, by default the user's own registry (see `default_folder`)."""
        self.path = default_folder() if folder is None else Path(folder).expanduser()
        self._database = Database(self.path, read_only=read_only)
        self._store = Store(self.path)
        self._reader = Reader(self._database, self._store)

    def __repr__(self) -> str:
        return f"Registry({str(self.path)!r})"

    @classmethod
    def create(cls, folder: Path | str | None = None) -> Registry:
        """Make a registry, if the folder is not one already.

        Raises:
            RegistryError: the folder holds other files, or cannot be written.
        """
        registry = cls(folder)
        registry._database.create()
        return registry

    @property
    def exists(self) -> bool:
        """Whether there is a registry at its path."""
        return self._database.path.exists()

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written: opened so, or write-protected."""
        return self._database.is_read_only

    def storage(self) -> Storage | None:
        """Return how the database is kept from corruption on its file system; None while there is no registry."""
        return self._database.storage() if self.exists else None

    # publish

    def publish(
        self,
        name: str,
        folder: Path | str,
        provenance: Provenance | None = None,
        *,
        description: str | None = None,
        by: str | None = None,
        progress: ProgressFactory = silent,
    ) -> Version:
        """Publish a checkpoint folder under the next number of a name, or return the version that is the same already.

        Args:
            name: of the model.
            folder: config.json, safetensors weights, tokenizer; hidden files and pickles are left out.
            provenance: what it was made from and how; part of its identity.
            description: of the model, replacing what it had.
            by: who publishes; by default the user.
            progress: opens a bar over the bytes that are copied and hashed.

        Raises:
            CheckpointError: the folder is no checkpoint, or holds something that must not be published.
            UnknownVersionError: a parent is not in the registry.
        """
        submission = Submission(
            name=name,
            folder=Path(folder).expanduser(),
            provenance=provenance or Provenance(),
            description=description,
            by=by or _user(),
        )
        return publish(self._database, self._store, submission, progress)

    def delete(self, ref: Ref, *, force: bool = False, reason: str | None = None, by: str | None = None) -> Version:
        """Delete a version: its number is not given again, its files go with the next collection.

        Raises:
            RegistryError: without `force`, an alias leads to it or a kept version was made from it.
        """
        with self._database.write() as connection:
            return delete(connection, Deletion(ref=ref, is_forced=force, reason=reason, by=by or _user()))

    # find and load

    def names(self) -> tuple[str, ...]:
        """Return the names of the models that have versions."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT DISTINCT name FROM version WHERE state = 'ready' ORDER BY name")
            return tuple(row["name"] for row in rows)

    def description(self, name: str) -> str | None:
        """Return what was said of a model."""
        with self._database.read() as connection:
            check_known(connection, name)
            row = connection.execute("SELECT description FROM model WHERE name = ?", (name,)).fetchone()
            return None if row is None else row["description"]

    def versions(self, name: str | None = None, *, deleted: bool = False) -> tuple[Version, ...]:
        """Return all versions, or those of one model, by name and number; with `deleted` those as well."""
        with self._database.read() as connection:
            if name is None:
                return select_versions(connection, deleted=deleted)
            check_known(connection, name)
            return select_versions(connection, "name = ?", (name,), deleted=deleted)

    def get(self, ref: Ref, *, deleted: bool = False) -> Version:
        """Return the version a reference names, with `deleted` even if it is."""
        with self._database.read() as connection:
            return find(connection, ref, deleted=deleted)

    def folder(self, ref: Ref, *, progress: ProgressFactory = silent) -> Path:
        """Return a version as a read-only checkpoint folder; sizes are compared each time, hashes the first time.

        Raises:
            RegistryError: a file is missing or damaged.
        """
        return self._reader.folder(ref, progress)

    def lease(self, ref: Ref) -> AbstractContextManager[Path]:
        """Give the same folder to a block, during which no collection takes it away though it be deleted."""
        return self._reader.lease(ref)

    # trace

    def lineage(self, ref: Ref) -> LineageNode:
        """Return the tree of what a version was made from."""
        with self._database.read() as connection:
            return lineage.ancestors(connection, find(connection, ref, deleted=True))

    def descendants(self, ref: Ref) -> LineageNode:
        """Return the tree of the kept versions that were made from a version."""
        with self._database.read() as connection:
            return lineage.descendants(connection, find(connection, ref, deleted=True))

    # name

    def set_alias(
        self,
        name: str,
        alias: str,
        version: int | None,
        *,
        expected: int | None | Unset = UNSET,
        reason: str | None = None,
        by: str | None = None,
    ) -> AliasMove:
        """Move an alias of a model to a version, or with None remove it.

        Raises:
            AliasConflictError: it does not stand at `expected` (None: nowhere).
        """
        order = aliases.Order(name=name, alias=alias, new=version, expected=expected, reason=reason, by=by or _user())
        with self._database.write() as connection:
            return aliases.move(connection, order)

    def alias_log(self, name: str, alias: str | None = None) -> tuple[AliasMove, ...]:
        """Return the moves of a model's aliases, or of one of them, oldest first."""
        with self._database.read() as connection:
            return aliases.log(connection, name, alias)

    # annotate

    def attach(self, ref: Ref, metrics: Iterable[Metric]) -> int:
        """Attach figures to a version, all or none, and return how many are new.

        Raises:
            RegistryError: a figure is not finite, or contradicts what the same run gave before.
        """
        with self._database.write() as connection:
            return remarks.attach(connection, find(connection, ref), metrics)

    def metrics(self, ref: Ref | None = None) -> tuple[tuple[Version, Metric], ...]:
        """Return the figures of a version, or of all that are ready, in the order they were attached."""
        with self._database.read() as connection:
            versions = select_versions(connection) if ref is None else (find(connection, ref, deleted=True),)
            return remarks.metrics_of(connection, versions)

    def tag(self, ref: Ref, key: str, value: str | None) -> None:
        """Set a tag of a version, or with None remove it."""
        with self._database.write() as connection:
            remarks.set_tag(connection, find(connection, ref), key, value)

    def tags(self, ref: Ref) -> Mapping[str, str]:
        """Return the tags of a version by key."""
        with self._database.read() as connection:
            return remarks.tags_of(connection, find(connection, ref, deleted=True))

    def note(self, ref: Ref, text: str, *, by: str | None = None) -> None:
        """Append a note to a version."""
        with self._database.write() as connection:
            remarks.add_note(connection, find(connection, ref), text, by or _user())

    def notes(self, ref: Ref) -> tuple[Note, ...]:
        """Return the notes on a version, oldest first."""
        with self._database.read() as connection:
            return remarks.notes_of(connection, find(connection, ref, deleted=True))

    def record_event(self, ref: Ref, kind: str, detail: str, *, by: str | None = None) -> None:
        """Append to the log what happened to a version elsewhere, such as an upload."""
        with self._database.write() as connection:
            record_event(connection, kind, find(connection, ref).ref, detail, by or _user())

    def events(self, ref: Ref | None = None) -> tuple[Event, ...]:
        """Return what happened to a version, or to everything, oldest first."""
        with self._database.read() as connection:
            version = None if ref is None else find(connection, ref, deleted=True)
            return remarks.events_of(connection, version)

    # keep

    def verify(self, *, repair: bool = False, progress: ProgressFactory = silent) -> tuple[Finding, ...]:
        """Check the database and every byte of every ready version; with `repair` mend what can be mended."""
        return verify(self._database, self._store, progress, mend_by=_user() if repair else None)

    def collect(self, *, dry_run: bool = True, grace_s: float = GRACE_S, prune_lineage: bool = False) -> Collection:
        """Remove the files of deleted versions and what killed processes left; by default only say what that is.

        Args:
            dry_run: whether to remove nothing.
            grace_s: what was deleted or left behind within so many seconds stays.
            prune_lineage: whether deleted versions go that a kept one was made from.
        """
        policy = Policy(grace_s=grace_s, prune_lineage=prune_lineage)
        return collect(self._database, self._store, policy, dry_run=dry_run, by=_user())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name; OSError since Python 3.13
        return "unknown"
