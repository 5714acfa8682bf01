"""The files of a registry folder: content-addressed blobs, and each version's folder of links to them.

    blobs/sha256/ab/abcd...   one file for each content, read-only
    folders/<digest>/...      a version as a checkpoint folder, read-only: hard links to its blobs, or symbolic ones
    tmp/<token>/...           a version on its way in; tmp/<token>.lock is held by who brings it
    leases/<digest>.<token>   held by who uses a version
    quarantine/               blobs whose content was not what their name says

It does not know what a version is; that is the database's business.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from timetrial_registry.locking import hold
from timetrial_registry.records import FileEntry

OWN_NAMES = ("registry.", "storage.json", "blobs", "folders", "tmp", "leases", "quarantine", "locking-")
"""What the names in a registry folder begin with."""
_WRITE = 0o222
_OWNER_ALL = 0o700


class Store:
    """Where the files of a registry folder are, and how they get there and away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs" / "sha256"
        self.folders = folder / "folders"
        self.staging = folder / "tmp"
        self.leases = folder / "leases"
        self.quarantine = folder / "quarantine"

    def blob(self, sha256: str) -> Path:
        """Return where the content of that hash is, or would be."""
        return self.blobs / sha256[:2] / sha256

    def version_folder(self, digest: str) -> Path:
        """Return where the version of that digest is, or would be."""
        return self.folders / digest

    def all_blobs(self) -> Iterator[Path]:
        """Yield every blob."""
        return (path for path in self.blobs.glob("*/*") if path.is_file())

    def lock_of(self, staged: Path) -> Path:
        """Return the file that is held while a staging folder is in use."""
        return staged.with_name(f"{staged.name}.lock")

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """Give a new folder on the registry's file system, which is gone afterwards unless it has been moved."""
        self.staging.mkdir(exist_ok=True)
        folder = self.staging / os.urandom(16).hex()
        with hold(self.lock_of(folder)):
            folder.mkdir()
            try:
                yield folder
            finally:
                remove(folder)

    def keep(self, staged: Path, sha256: str, *, is_trusted: bool) -> None:
        """Make a staged file the blob of that hash, or a link to it if it is there and trusted; `staged` links to it.

        A blob that is not trusted is replaced, so that publishing again mends it.
        """
        blob = self.blob(sha256)
        if not (is_trusted and blob.is_file()):
            self._make_folder(blob.parent)
            _protect(staged)
            os.replace(staged, blob)
            sync_folder(blob.parent)
        link(blob, staged)

    def install(self, staged: Path, digest: str) -> Path:
        """Make a staged folder of links the folder of a version, in place of what is there."""
        folder = self.version_folder(digest)
        self._make_folder(self.folders)
        if folder.exists():
            self.discard(folder)
        os.rename(staged, folder)
        for place, _, _ in os.walk(folder, topdown=False):
            sync_folder(Path(place))
            _protect(Path(place))
        sync_folder(self.folders)
        return folder

    def discard(self, path: Path) -> None:
        """Take a folder away at once, then delete it."""
        self.staging.mkdir(exist_ok=True)
        gone = self.staging / os.urandom(16).hex()
        _unprotect(path)  # the entry ".." of a folder that moves is written
        os.rename(path, gone)
        remove(gone)

    def holds(self, digest: str, files: Collection[FileEntry]) -> bool:
        """Whether the folder of a version links to the blobs of all its files, and holds nothing else."""
        folder = self.version_folder(digest)
        found = sum(len(names) for _, _, names in os.walk(folder))
        return found == len(files) and all(is_link_to(self.blob(file.sha256), folder / file.path) for file in files)

    def rebuild(self, digest: str, files: Iterable[FileEntry]) -> Path:
        """Make the folder of a version anew from its blobs."""
        with self.staged() as staged:
            for file in files:
                (staged / file.path).parent.mkdir(parents=True, exist_ok=True)
                link(self.blob(file.sha256), staged / file.path)
            return self.install(staged, digest)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder in the registry, on the disk when this returns."""
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)

    def isolate(self, blob: Path) -> Path:
        """Move a blob to quarantine and return where it is now."""
        self.quarantine.mkdir(exist_ok=True)
        place = self.quarantine / f"{blob.name}-{os.urandom(4).hex()}"
        os.replace(blob, place)
        sync_folder(blob.parent)
        return place


def link(blob: Path, path: Path) -> None:
    """Make `path` a link to a blob: a hard one, or a relative symbolic one where the file system has no (more) such."""
    path.unlink(missing_ok=True)
    try:
        os.link(blob, path)
    except FileNotFoundError:
        raise
    except OSError:
        path.symlink_to(os.path.relpath(blob, path.parent))  # the same after `install`: folders lie as deep as staging


def is_link_to(blob: Path, path: Path) -> bool:
    """Whether two paths lead to one existing file."""
    try:
        return os.path.samefile(blob, path)
    except OSError:
        return False


def remove(folder: Path) -> None:
    """Delete a folder and all that is in it, write-protected or not."""
    for place, _, _ in os.walk(folder):
        _unprotect(Path(place))
    if folder.exists():
        shutil.rmtree(folder)


def _protect(path: Path) -> None:
    """Take away the right to write; who may read stays as the user's mask has it."""
    path.chmod(path.stat().st_mode & ~_WRITE)


def _unprotect(folder: Path) -> None:
    folder.chmod(folder.stat().st_mode | _OWNER_ALL)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk (Windows has no such call, and needs none)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
