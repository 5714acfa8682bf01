"""Two kinds of lock files: one that the system drops when its holder dies, and one for file systems without locks.

`hold` asks the system for a lock on a file, so a crash leaves none behind; readers' leases and staging folders use it.
`lock_file` asks for nothing but the exclusive creation of a file, which works on network file systems too; after a
crash it stays, and whoever waits for it is told whose it was.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from timetrial_registry.error import RegistryError

_POLL_S = 0.05

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Create `path`, which nobody else may hold, and hold it; it is removed afterwards.

    Raises:
        OSError: it cannot be created.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _try_lock(descriptor)
        yield
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Whether a living process holds `path`; a file that does not exist is not held."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def lock_file(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Own `path` by creating it, waiting while it is there.

    Raises:
        RegistryError: it is still there after `timeout_s`; names its owner.
    """
    _create(path, round(timeout_s / _POLL_S))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _create(path: Path, num_waits: int) -> None:
    for _ in range(num_waits + 1):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            Event().wait(_POLL_S)
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
        return
    raise RegistryError(
        f"{path} is held by {_owner(path)}. Wait for it and try again; if that process no longer runs, it was killed: "
        "delete the file, then run `timetrial registry verify`."
    )


def _owner(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "somebody"
    except OSError:
        return "somebody"
