"""Whether the file system of a registry can be trusted with SQLite's locks, found by trying, and what to do if not.

SQLite's write-ahead log needs locks that hold between processes, and memory shared by all that read it: a network file
system offers the second to no two machines, and some offer not even the first. There the database keeps a rollback
journal, and a lock file (see `locking`) guards every access.

    write_ahead_log   a local file system, whose locks a second process has felt
    lock_file         anything else; `Storage.reason` says why
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from timetrial_registry.error import RegistryError

STORAGE_FILE = "storage.json"
NETWORK_FILE_SYSTEMS = frozenset(
    "9p acfs afs beegfs ceph cifs coda davfs fuse.ceph fuse.gcsfuse fuse.glusterfs fuse.rclone fuse.s3fs fuse.sshfs "
    "gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs panfs smb2 smb3 smbfs wekafs".split()
)
_MOUNTS = Path("/proc/self/mountinfo")
_SECOND_PROCESS = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError:
    sys.exit(0)
sys.exit(9)
"""
"""It must fail to begin while the first process is writing."""
_LET_IN = 9
_MAX_MACHINES = 50
"""How many are remembered: every container has a name of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """How a registry's database is kept from corruption; the same for all who use it."""

    mode: Literal["write_ahead_log", "lock_file"]
    reason: str
    tried_by: tuple[str, ...]
    """Machines and their devices that found this to hold."""

    def save(self, folder: Path) -> None:
        """Write it into a registry folder, whole or not at all."""
        draft = folder / f"{STORAGE_FILE}.{os.urandom(8).hex()}"
        draft.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        os.replace(draft, folder / STORAGE_FILE)


def read_storage(folder: Path) -> Storage:
    """Read what was found of a registry folder's file system.

    Raises:
        RegistryError: the file is missing or damaged.
    """
    path = folder / STORAGE_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["mode"] not in ("write_ahead_log", "lock_file"):
            raise ValueError(f"unknown mode {data['mode']!r}")
        return Storage(mode=data["mode"], reason=data["reason"], tried_by=tuple(data["tried_by"]))
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RegistryError(
            f"{path} cannot be read ({cause}). If no other process uses the registry, delete the file: it is made "
            "again at the next use."
        ) from cause


def agree_on_storage(folder: Path) -> Storage:
    """Return how the registry in `folder` is kept, trying its file system if this machine has not done so yet.

    A machine that finds it unfit turns the registry to the lock file for all.
    """
    storage = read_storage(folder) if (folder / STORAGE_FILE).exists() else None
    if storage is not None and (storage.mode == "lock_file" or here(folder) in storage.tried_by):
        return storage
    found = try_storage(folder)
    if storage is not None and found.mode == "write_ahead_log":
        found = replace(found, tried_by=(*storage.tried_by, *found.tried_by)[-_MAX_MACHINES:])
    found.save(folder)
    return found


def try_storage(folder: Path) -> Storage:
    """Find out how a registry in `folder` must be kept."""
    complaint = network_file_system(folder) or locks_that_do_not_hold(folder)
    if complaint:
        return Storage(mode="lock_file", reason=complaint, tried_by=(here(folder),))
    return Storage(mode="write_ahead_log", reason="a second process felt the lock", tried_by=(here(folder),))


def here(folder: Path) -> str:
    """Return what names this machine and the device that `folder` is on."""
    return f"{socket.gethostname()}:{folder.stat().st_dev}"


def network_file_system(folder: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return a complaint if the system says that `folder` is on a network file system (Linux only)."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    # proc(5): 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    kinds = {line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == number}
    network = kinds & NETWORK_FILE_SYSTEMS
    return f"it is on a network file system ({', '.join(sorted(network))})" if network else None


def locks_that_do_not_hold(folder: Path) -> str | None:
    """Return a complaint if a second process can write to a database of `folder` while this one does."""
    import subprocess
    import tempfile

    if not sys.executable:
        return "its locks could not be tried: this Python does not know its own program"
    with tempfile.TemporaryDirectory(dir=folder, prefix="locking-") as place:
        database = Path(place) / "try.db"
        connection = sqlite3.connect(database, isolation_level=None, timeout=0)
        try:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                return "its file system cannot hold a write-ahead log"
            connection.execute("BEGIN IMMEDIATE")
            second = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _SECOND_PROCESS, str(database)], capture_output=True
            )
        except sqlite3.Error as cause:
            return f"its file system cannot hold a write-ahead log ({cause})"
        except OSError as cause:
            return f"its locks could not be tried: no second process can be started ({cause})"
        finally:
            connection.close()
    if second.returncode == _LET_IN:
        return "its file system lets two processes write at once: its locks do not hold"
    if second.returncode:
        return f"its locks could not be tried: {second.stderr.decode(errors='replace').strip()}"
    return None
