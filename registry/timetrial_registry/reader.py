"""A version as a folder to load: looked over each time, hashed the first time, and leased while it is used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from timetrial_registry.checked import Fingerprint, confirm, fingerprint, is_checked, remember
from timetrial_registry.database import Database
from timetrial_registry.error import RegistryError
from timetrial_registry.index import find
from timetrial_registry.locking import hold
from timetrial_registry.progress import ProgressFactory, silent
from timetrial_registry.records import FileEntry, Ref, Version
from timetrial_registry.store import Store


class Reader:
    """Gives out the folders of versions."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store
        self._checked: dict[str, Fingerprint] = {}
        """What this process has hashed: all that a read-only registry can remember."""

    def folder(self, ref: Ref, progress: ProgressFactory = silent) -> Path:
        """Return the read-only folder of a version, in the layout it was published in.

        Raises:
            RegistryError: a file is missing or damaged.
            UnknownVersionError: there is no such version.
        """
        with self._database.read() as connection:
            version = find(connection, ref)
        try:
            return self._checked_folder(version, progress)
        except OSError as cause:
            raise RegistryError(f"{version.ref} cannot be loaded: {cause}") from cause

    def _checked_folder(self, version: Version, progress: ProgressFactory) -> Path:
        files = version.manifest.files
        with self._database.read() as connection:
            unchecked = [file for file in files if not is_checked(connection, self._store.blob(file.sha256))]
        self._check_sizes(version, files)
        self._check_hashes(version, unchecked, progress)
        is_whole = self._store.holds(version.digest, files)
        if self._database.is_read_only:
            if not is_whole:
                raise self._damage(version, "its folder", "is missing or was changed")
        elif unchecked or not is_whole:
            self._settle(version, unchecked)
        return self._store.version_folder(version.digest)

    @contextmanager
    def lease(self, ref: Ref) -> Iterator[Path]:
        """Give the folder of a version, which no collection takes away until the block ends or the process dies.

        Raises:
            RegistryError: as for `folder`, or the registry is read-only.
        """
        with ExitStack() as stack:
            with self._database.write() as connection:  # so that no collection is under way
                version = find(connection, ref)
                self._store.leases.mkdir(exist_ok=True)
                stack.enter_context(hold(self._store.leases / f"{version.digest}.{os.urandom(16).hex()}"))
            yield self.folder(version)

    def _check_sizes(self, version: Version, files: Sequence[FileEntry]) -> None:
        for file in files:
            found = fingerprint(self._store.blob(file.sha256))
            if found is None:
                raise self._damage(version, file.path, "is missing")
            if found.size != file.size:
                raise self._damage(version, file.path, f"has {found.size:,} bytes instead of {file.size:,}")

    def _check_hashes(self, version: Version, files: Sequence[FileEntry], progress: ProgressFactory) -> None:
        """Hash what neither this process nor the database knows to be right."""
        new = [file for file in files if self._checked.get(file.sha256) != fingerprint(self._store.blob(file.sha256))]
        if not new:
            return
        with progress(f"check {version.ref}", sum(file.size for file in new)) as advance:
            for file in new:
                found = confirm(self._store.blob(file.sha256), advance)
                if found is None:
                    raise self._damage(version, file.path, "does not have the content it was published with")
                self._checked[file.sha256] = found

    def _settle(self, version: Version, checked: Sequence[FileEntry]) -> None:
        """Remember what was hashed, and make the folder again if it is not as it should be."""
        with self._database.write() as connection:
            find(connection, version)
            for file in checked:
                remember(connection, self._store.blob(file.sha256))
            files = version.manifest.files
            if not self._store.holds(version.digest, files):
                self._store.rebuild(version.digest, files)

    def _damage(self, version: Version, subject: str, what: str) -> RegistryError:
        return RegistryError(
            f"{version.ref} cannot be loaded: {subject} {what} in {self._store.folder}. `timetrial registry verify` "
            "says what else is damaged, `--repair` mends what can be, and publishing the same files again the rest."
        )
