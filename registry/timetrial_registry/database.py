"""Connections to registry.db: one for each transaction, so that threads and forked processes share none."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

from timetrial_registry.error import RegistryError
from timetrial_registry.locking import lock_file
from timetrial_registry.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES, TRIGGERS
from timetrial_registry.storage import Storage, agree_on_storage, read_storage
from timetrial_registry.store import OWN_NAMES, sync_folder

DATABASE_FILE = "registry.db"
LOCK_FILE = "registry.lock"
BUSY_TIMEOUT_S = 60.0


class Database:
    """The index of a registry folder; while there is no file it reads as empty."""

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self._folder = folder
        self._is_asked_read_only = read_only

    @property
    def path(self) -> Path:
        """The database file."""
        return self._folder / DATABASE_FILE

    @property
    def is_read_only(self) -> bool:
        """Whether nothing may be written, because the caller said so or the folder is write-protected."""
        return self._is_asked_read_only or (self._folder.exists() and not os.access(self._folder, os.W_OK))

    def storage(self) -> Storage:
        """Return how the database is kept from corruption.

        Raises:
            RegistryError: nobody can tell.
        """
        return read_storage(self._folder) if self.is_read_only else agree_on_storage(self._folder)

    def create(self) -> None:
        """Make folder and database if they are not there; of two processes that do so at once, one wins.

        Raises:
            RegistryError: the registry is read-only, or the folder holds something else.
        """
        if self.is_read_only:
            raise RegistryError(f"the registry {self._folder} is opened for reading only, or write-protected")
        if self.path.exists():
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            storage = agree_on_storage(_refuse_foreign(self._folder))
            _create_once(self.path, storage)
        except OSError as cause:
            raise RegistryError(f"no registry can be made at {self._folder}: {cause}") from cause

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that sees one state of the database and changes nothing.

        Raises:
            RegistryError: the database is busy, damaged or none of ours.
        """
        with self._explained():
            if not self.path.exists():
                with closing(_connect(":memory:")) as connection:
                    connection.executescript(TABLES)
                    yield connection
                return
            with self._guard(), closing(self._open()) as connection:
                connection.execute("BEGIN")
                yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that nobody else can write beside; it is committed if the block ends well.

        Raises:
            RegistryError: the database is read-only, busy, damaged or none of ours.
        """
        self.create()
        with self._explained(), self._guard(), closing(self._open()) as connection:
            if self.storage().mode == "lock_file":
                connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # a full disk has ended it already
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _guard(self) -> AbstractContextManager[None]:
        if self.is_read_only or self.storage().mode == "write_ahead_log":
            return nullcontext()
        return lock_file(self._folder / LOCK_FILE, timeout_s=BUSY_TIMEOUT_S)

    def _open(self) -> sqlite3.Connection:
        connection = self._open_read_only() if self.is_read_only else _connect(f"{self._uri}?mode=rw")
        try:
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_read_only(self) -> sqlite3.Connection:
        """Read beside writers if there are any; if the log can neither be found nor made, nobody is writing."""
        connection = _connect(f"{self._uri}?mode=ro")
        try:
            connection.execute("PRAGMA user_version")
        except sqlite3.OperationalError as cause:
            connection.close()
            if not cause.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise
            return _connect(f"{self._uri}?immutable=1")
        return connection

    @property
    def _uri(self) -> str:
        return self.path.absolute().as_uri()

    def _check(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise RegistryError(f"{self.path} is a database, but no timetrial registry. Choose another folder.")
        if version != SCHEMA_VERSION:
            raise RegistryError(
                f"{self.path} has schema {version}: this timetrial knows {SCHEMA_VERSION}. Update timetrial."
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite raises into what a user can act on."""
        try:
            yield
        except sqlite3.OperationalError as cause:
            if "locked" in str(cause) or "busy" in str(cause):
                raise RegistryError(
                    f"{self.path} was busy for {BUSY_TIMEOUT_S:.0f} seconds: another process is writing. Try again."
                ) from cause
            raise RegistryError(f"{self.path} cannot be used: {cause}") from cause
        except sqlite3.DatabaseError as cause:
            raise RegistryError(
                f"{self.path} refused: {cause}. If it is damaged, `timetrial registry verify` says how far."
            ) from cause


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, timeout=BUSY_TIMEOUT_S, isolation_level=None, uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def _refuse_foreign(folder: Path) -> Path:
    """Refuse to make a registry among other files, which a mistyped folder would mean."""
    foreign = sorted(path.name for path in folder.iterdir() if not path.name.startswith(OWN_NAMES))
    if foreign:
        raise RegistryError(
            f"{folder} holds {', '.join(foreign[:3])}{' and more' if len(foreign) > 3 else ''}, and no registry: "
            "expected an empty or new folder"
        )
    return folder


def _create_once(path: Path, storage: Storage) -> None:
    """Write an empty database aside and give it its name, unless that has been taken meanwhile."""
    draft = path.with_name(f"{path.name}.{os.urandom(16).hex()}")
    try:
        with closing(_connect(draft.absolute().as_uri())) as connection:
            connection.execute(f"PRAGMA journal_mode = {'WAL' if storage.mode == 'write_ahead_log' else 'DELETE'}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.executescript(f"BEGIN; {TABLES} {TRIGGERS} COMMIT;")
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        except OSError:  # no hard links on this file system
            with lock_file(path.with_name(f"{DATABASE_FILE}.creating"), timeout_s=BUSY_TIMEOUT_S):
                if not path.exists():
                    os.replace(draft, path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)
