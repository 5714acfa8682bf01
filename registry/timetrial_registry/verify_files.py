"""Checks of the files: every byte of every blob, and the folders that link to them."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

from timetrial_registry.checked import forget
from timetrial_registry.digest import file_digest
from timetrial_registry.error import TimetrialError
from timetrial_registry.problem import Problem, problem
from timetrial_registry.progress import Advance, ignore
from timetrial_registry.records import FileEntry, Version
from timetrial_registry.store import Store

_NUM_THREADS = 2

Damage = Literal["missing", "unreadable", "truncated", "corrupt"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A blob that ready versions need."""

    sha256: str
    size: int
    """In bytes, as published."""
    users: tuple[tuple[Version, str], ...]
    """The versions that need it, and what the file is called in each."""

    @property
    def subject(self) -> str:
        """What a person knows it by."""
        version, path = self.users[0]
        more = f" (and {len(self.users) - 1} more)" if len(self.users) > 1 else ""
        return f"{version.ref}: {path}{more}"


def contents_of(versions: Iterable[Version]) -> tuple[Content, ...]:
    """Return what versions need, each blob once; manifests that cannot be read are the business of another check."""
    users: dict[tuple[str, int], list[tuple[Version, str]]] = defaultdict(list)
    for version in versions:
        for file in files_of(version):
            users[file.sha256, file.size].append((version, file.path))
    return tuple(Content(sha256=sha256, size=size, users=tuple(used)) for (sha256, size), used in users.items())


def files_of(version: Version) -> tuple[FileEntry, ...]:
    """Return the files of a version, none if its manifest cannot be read."""
    try:
        return version.manifest.files
    except TimetrialError:
        return ()


def find_damage(store: Store, contents: Sequence[Content], advance: Advance) -> tuple[tuple[Content, Damage], ...]:
    """Hash what versions need, and return what is not as it was published."""
    with ThreadPoolExecutor(_NUM_THREADS) as executor:
        try:
            states = [(content, executor.submit(_damage, store, content, advance)) for content in contents]
            return tuple((content, damage) for content, state in states if (damage := state.result()) is not None)
        except BaseException:
            executor.shutdown(cancel_futures=True)  # somebody has had enough: do not hash the rest
            raise


def describe_damage(store: Store, content: Content, damage: Damage) -> Problem:
    """Return the problem that a damaged blob is."""
    blob = store.blob(content.sha256)
    name = f"blob {content.sha256[:12]}"
    if damage == "missing":
        return problem(damage, content.subject, f"{name} is not there; publishing the same files again brings it back")
    if damage == "unreadable":
        return problem(damage, content.subject, f"{name} cannot be read: look at the disk, and at who may read {blob}")
    found = f"has {blob.stat().st_size:,} bytes instead of {content.size:,}" if damage == "truncated" else (
        f"does not have the content it was published with: its sha256 is {file_digest(blob)[:12]}"
    )  # fmt: skip
    return problem(damage, content.subject, f"{name} {found}", mend=partial(_isolate, store, content))


def check_folders(store: Store, versions: Iterable[Version], damaged: Iterable[Content]) -> Iterator[Problem]:
    """Find versions whose folder is not what it should be, though their blobs are."""
    hopeless = {version.ref for content in damaged for version, _ in content.users}
    for version in versions:
        files = files_of(version)
        if files and version.ref not in hopeless and not store.holds(version.digest, files):
            detail = "its folder is missing or was changed; it is made again when it is next loaded"
            yield problem("folder", version.ref, detail, "warning", mend=partial(_rebuild, store, version))


def _damage(store: Store, content: Content, advance: Advance) -> Damage | None:
    blob = store.blob(content.sha256)
    try:
        if blob.stat().st_size == content.size:
            return None if file_digest(blob, advance) == content.sha256 else "corrupt"
    except FileNotFoundError:
        advance(content.size)
        return "missing"
    except OSError:
        return "unreadable"
    advance(content.size)
    return "truncated"


def _isolate(store: Store, content: Content, connection: sqlite3.Connection) -> str:
    """Put a damaged blob aside, and the folders that link to it away, so that nobody loads it."""
    damage = _damage(store, content, ignore)
    if damage not in ("truncated", "corrupt"):
        return "left as it is" if damage else "good again meanwhile"
    place = store.isolate(store.blob(content.sha256))
    forget(connection, content.sha256)
    for digest in {version.digest for version, _ in content.users}:
        if store.version_folder(digest).exists():
            store.discard(store.version_folder(digest))
    return f"moved to {place.relative_to(store.folder).as_posix()}; publish the same files again to mend the version"


def _rebuild(store: Store, version: Version, connection: sqlite3.Connection) -> str:
    files = version.manifest.files
    if store.holds(version.digest, files):
        return "good again meanwhile"
    if not all(store.blob(file.sha256).is_file() for file in files):
        return "its blobs are gone meanwhile"
    store.rebuild(version.digest, files)
    return "made again"
