"""A file system whose locks do not hold is found out, said, and worked around; one that cannot be written is read."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from timetrial_registry import Registry
from timetrial_registry.error import RegistryError
from timetrial_registry.locking import hold, is_held, lock_file
from timetrial_registry.storage import Storage, network_file_system, read_storage, try_storage

from .conftest import write_checkpoint

NO_LOCKS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>

/* Locks that are granted to everybody, as on a file system without them. */
#define WITHOUT_LOCKS(name)                                                     \\
    int name(int descriptor, int command, ...) {                                \\
        va_list rest;                                                           \\
        va_start(rest, command);                                                \\
        void *argument = va_arg(rest, void *);                                  \\
        va_end(rest);                                                           \\
        if (command == F_SETLK || command == F_SETLKW) return 0;                \\
        int (*real)(int, int, void *) = dlsym(RTLD_NEXT, #name);                \\
        return real(descriptor, command, argument);                             \\
    }
WITHOUT_LOCKS(fcntl)
WITHOUT_LOCKS(fcntl64)
int flock(int descriptor, int operation) { return 0; }
"""
WRITER = """
import sys
from timetrial_registry import Registry

registry = Registry(sys.argv[1])
for source in sys.argv[2:]:
    registry.publish("student", source)
"""


def lock_file_storage(folder: Path, reason: str = "as a test says") -> None:
    folder.mkdir(parents=True)
    Storage(mode="lock_file", reason=reason, tried_by=()).save(folder)


@pytest.fixture(scope="session")
def without_locks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that sees a file system without locks."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    place = tmp_path_factory.mktemp("without_locks")
    (place / "locks.c").write_text(NO_LOCKS)
    command = [compiler, "-shared", "-fPIC", "-o", place / "locks.so", place / "locks.c", "-ldl"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    return {**os.environ, "LD_PRELOAD": str(place / "locks.so")}


def test_a_local_file_system_has_a_write_ahead_log_and_is_tried_once(registry, make_checkpoint, monkeypatch):
    registry.publish("student", make_checkpoint())
    storage = registry.storage()
    assert storage.mode == "write_ahead_log" and "second process" in storage.reason
    assert (registry.path / "registry.db").read_bytes()[18:20] == b"\x02\x02", "SQLite's mark of a write-ahead log"
    monkeypatch.setattr("timetrial_registry.storage.try_storage", None)
    assert Registry(registry.path).storage() == storage


def test_locks_that_do_not_hold_are_found_by_a_second_process(without_locks, tmp_path):
    code = "import pathlib, sys, timetrial_registry.storage as s; print(s.try_storage(pathlib.Path(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], env=without_locks, capture_output=True, text=True)
    assert "mode='lock_file'" in done.stdout and "lets two processes write at once" in done.stdout, done.stderr
    assert try_storage(tmp_path).mode == "write_ahead_log"
    assert list(tmp_path.iterdir()) == []


def test_writers_on_a_file_system_without_locks_do_not_harm_each_other(without_locks, tmp_path, make_checkpoint):
    folder = tmp_path / "registry"
    shared = str(make_checkpoint("shared", seed=99))
    sources = [[str(make_checkpoint(f"{writer}-{n}", seed=writer * 4 + n)) for n in range(2)] for writer in range(4)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, folder, shared, *own], env=without_locks, stderr=subprocess.PIPE
        )
        for own in sources
    ]
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors.decode()
    registry = Registry(folder)
    assert registry.storage().mode == "lock_file", "what one machine finds holds for all"
    assert [version.version for version in registry.versions()] == list(range(1, 4 * 2 + 2))
    assert [(finding.kind, finding.severity) for finding in registry.verify()] == [("storage", "note")]
    assert (folder / "registry.db").read_bytes()[18:20] == b"\x01\x01", "SQLite's mark of a rollback journal"
    assert not (folder / "registry.lock").exists()


def test_a_lock_file_that_stays_is_named_with_its_owner(tmp_path, make_checkpoint, monkeypatch):
    monkeypatch.setattr("timetrial_registry.database.BUSY_TIMEOUT_S", 0.0)
    lock_file_storage(tmp_path / "registry")
    registry = Registry(tmp_path / "registry")
    registry.publish("student", make_checkpoint())
    with lock_file(registry.path / "registry.lock", timeout_s=0):
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(RegistryError, match=f"registry.lock is held by {owner}.*delete the file"):
            registry.names()
    assert registry.names() == ("student",)


def test_everything_works_behind_a_lock_file(tmp_path, make_checkpoint):
    lock_file_storage(tmp_path / "registry")
    registry = Registry(tmp_path / "registry")
    for seed in range(2):
        registry.publish("student", make_checkpoint(str(seed), seed=seed))
    registry.set_alias("student", "champion", 2)
    with registry.lease("student@1") as folder:
        registry.delete("student@1")
        assert registry.collect(dry_run=False, grace_s=0).removed == ()
    assert len(registry.collect(dry_run=False, grace_s=0).removed) == 3 and not folder.exists()
    assert [finding.kind for finding in registry.verify(repair=True)] == ["storage"]
    assert Registry(registry.path, read_only=True).get("student@champion").version == 2


def test_a_machine_that_finds_the_locks_wanting_turns_the_registry_for_all(registry, make_checkpoint, monkeypatch):
    registry.publish("student", make_checkpoint())
    monkeypatch.setattr("timetrial_registry.storage.here", lambda folder: "another:1")
    unfit = Storage(mode="lock_file", reason="it is on a network file system (nfs4)", tried_by=("another:1",))
    monkeypatch.setattr("timetrial_registry.storage.try_storage", lambda folder: unfit)
    registry.publish("student", make_checkpoint("other", seed=1))
    monkeypatch.undo()
    assert Registry(registry.path).storage() == unfit
    assert (registry.path / "registry.db").read_bytes()[18:20] == b"\x01\x01"
    assert len(registry.versions()) == 2


@pytest.mark.parametrize(("kind", "is_network"), [("nfs4", True), ("fuse.sshfs", True), ("xfs", False)])
def test_network_file_systems_are_known_by_their_kind(tmp_path, kind, is_network):
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 0:999 / / rw - tmpfs tmpfs rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw,noatime master:1 - {kind} server:/x rw\n"
    )
    complaint = network_file_system(tmp_path, mounts)
    assert (complaint == f"it is on a network file system ({kind})") == is_network
    assert complaint is None or is_network


@pytest.mark.parametrize("text", ["", "[]", '{"mode": "fast", "reason": "", "tried_by": []}', '{"mode": "lock_file"}'])
def test_a_damaged_note_of_the_storage_is_named(tmp_path, text):
    (tmp_path / "storage.json").write_text(text)
    with pytest.raises(RegistryError, match=r"storage\.json cannot be read.*delete the file"):
        read_storage(tmp_path)


def test_a_lock_ends_with_its_holder(tmp_path):
    path = tmp_path / "lock"
    with hold(path):
        assert is_held(path)
    assert not path.exists() and not is_held(path)
    path.touch()
    assert not is_held(path), "a file that nobody holds is left over"


READER = """
import getpass, json, os, pwd, sys
from timetrial_registry import Registry

registry = Registry(sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
folder = registry.folder("student")
print(json.dumps([registry.is_read_only, registry.get("student").version, (folder / "tokenizer.json").read_text()]))
try:
    registry.note("student", "x")
except Exception as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to become another user")
@pytest.mark.parametrize("is_quiet", [True, False], ids=["nobody-writing", "beside-a-writer"])
def test_somebody_who_may_not_write_can_read(is_quiet):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        registry = Registry(Path(place) / "registry")
        registry.publish("student", write_checkpoint(Path(place) / "source"))
        command = [sys.executable, "-c", READER, str(registry.path)]
        options = {"capture_output": True, "text": True, "cwd": place}
        if is_quiet:
            done = subprocess.run(command, **options)
        else:
            with registry._database.write():
                done = subprocess.run(command, **options)
        assert done.returncode == 0, done.stderr
        found, refusal = map(json.loads, done.stdout.splitlines())
        assert found == [True, 1, "{}"]
        assert "write-protected" in refusal
