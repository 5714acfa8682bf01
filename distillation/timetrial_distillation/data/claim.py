"""A folder that one request fills, in as many runs as it takes: who may write to it, and what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from timetrial.error import RunLockedError, UsageError
from timetrial_distillation.data.records import Json
from timetrial_distillation.output import read_json, refuse_difference, write_json

REQUEST = "request.json"
LOCK = ".lock"


@contextmanager
def claimed(out: Path, request: Json) -> Iterator[None]:
    """Make the folder, or check that it was begun with the same request; nobody else may write to it meanwhile.

    Raises:
        UsageError: `out` is a file, or holds something else.
        ConfigMismatchError: it was begun with another request; shows the difference.
        RunLockedError: another process writes to it.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"the output folder {out} is a file. Choose another name.")
    is_used = out.exists() and any(path.name != LOCK for path in out.iterdir())
    if is_used and not (out / REQUEST).exists():
        raise UsageError(f"the output folder {out} holds something else. Choose another one.")
    out.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as cause:
        raise RunLockedError(f"another process is preparing data in {out}: wait, or choose another folder") from cause
    try:
        if (out / REQUEST).exists():
            refuse_difference(read_json(out / REQUEST), request, out / REQUEST)
        else:
            write_json(out / REQUEST, request)
        yield
    finally:
        lock.release()
