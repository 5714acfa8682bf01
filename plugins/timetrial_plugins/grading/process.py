"""A worker process with its pipes: start it, exchange messages with it within a time, and leave nothing of it.

The process is started as a program of its own (`serve.py`), not forked, and in a session of its own. A timer thread
kills the process that takes too long, which ends the blocking read of the thread that waits for it: that works alike on
every platform and in every kind of caller.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from typing import IO, Any, Literal, cast

from timetrial_plugins.grading import serve

REAP_LIMIT_S = 5.0
"""How long to wait for a killed process to be gone; longer only if the system itself hangs."""
MAX_LAST_WORDS = 300
"""Characters of a dead worker's error output that are kept."""
_LOCATIONS = ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
"""What of Python's own settings a worker inherits: where its files lie. Others could change what it answers."""

Ending = Literal["answered", "timed out", "out of memory", "failed", "died"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a question."""

    ending: Ending
    """failed: the function raised, or cannot be imported. died: the process ended, or could not be started."""
    value: Any = None  # what JSON can hold
    """The function's answer, if it answered."""
    detail: str = ""
    """In words, what happened instead of an answer."""


class Process:
    """A running worker process. Made by one thread at a time, and used by one at a time."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            OSError: the system does not let it start.
        """
        self._errors = tempfile.TemporaryFile()
        try:
            self._popen = _popen(self._errors)
        except BaseException:
            self._errors.close()
            raise
        self._questions = cast(FileIO, self._popen.stdin)
        self._answers = cast(FileIO, self._popen.stdout)
        self._end = weakref.finalize(self, _end, self._popen, self._errors)  # at the latest when the program ends

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    def exchange(self, message: serve.Message, limit_s: float) -> Outcome:
        """Send a message and return what the answer to it says."""
        answer: serve.Message = {}
        deadline = _Deadline(limit_s, lambda: _kill(self._popen))
        with suppress(serve.Gone), deadline:
            serve.send(self._questions, message)
            answer = serve.receive(self._answers)
        if deadline.has_passed:
            return Outcome(ending="timed out", detail=f"no answer within {limit_s:g} s")
        if not answer:
            return self._death()
        if "memory" in answer:
            return Outcome(ending="out of memory", detail=f"it needs more than {answer['memory'] >> 20} MB")
        if "failed" in answer:
            return Outcome(ending="failed", detail=answer["failed"])
        return Outcome(ending="answered", value=answer.get("value"))

    def stop(self) -> None:
        """Kill it and close its pipes."""
        self._end()

    def forget(self) -> None:
        """Let go of a process that belongs to the parent of this one."""
        self._end.detach()
        self._popen.returncode = 0  # or it would be missed when this object is deleted
        for file in (self._questions, self._answers, self._errors):
            file.close()

    def _death(self) -> Outcome:
        """Say how the process ended."""
        _reap(self._popen)
        words = _last_words(self._errors)
        if "MemoryError" in words or "annot allocate memory" in words:  # the latter from the GNU MP library
            return Outcome(ending="out of memory", detail=words)
        return Outcome(ending="died", detail=": ".join(filter(None, (_status(self._popen.returncode), words))))


class _Deadline:
    """Strikes from another thread, once, unless the block that it guards is left in time."""

    def __init__(self, limit_s: float, strike: Callable[[], None]) -> None:
        self.has_passed = False
        self._is_over = False
        self._lock = threading.Lock()
        self._strike = strike
        self._timer = threading.Timer(limit_s, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._timer.cancel()
        with self._lock:  # so that it strikes at this question or at none, never at the next
            self._is_over = True

    def _pass(self) -> None:
        with self._lock:
            if not self._is_over:
                self.has_passed = True
                self._strike()


def _popen(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable or "", "-P", serve.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        bufsize=0,  # nothing of a message may stay in a buffer, which a fork would copy
        env=_environment(),
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _environment() -> dict[str, str]:
    """Return the environment of a worker: this one, without settings of Python that could change what it answers."""
    inherited = () if sys.flags.ignore_environment else _LOCATIONS
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name in inherited}
    return kept | {"PYTHONHASHSEED": "0"}


def _end(popen: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    """Kill a process and leave nothing of it."""
    _reap(popen)
    for file in (popen.stdin, popen.stdout, errors):
        if file is not None:
            file.close()


def _reap(popen: subprocess.Popen[bytes]) -> None:
    _kill(popen)
    with suppress(subprocess.TimeoutExpired):
        popen.wait(REAP_LIMIT_S)


def _kill(popen: subprocess.Popen[bytes]) -> None:
    if popen.returncode is not None:
        return  # it is gone, and its number may be another's
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(popen.pid, signal.SIGKILL)  # and whatever it may have started
        else:
            popen.kill()


def _status(code: int | None) -> str:
    """Say in words how a process ended."""
    if code is None or code >= 0:
        return f"the worker process ended with exit code {code}"
    with suppress(ValueError):
        return f"the worker process was ended by {signal.Signals(-code).name}"
    return f"the worker process was ended by signal {-code}"


def _last_words(errors: IO[bytes]) -> str:
    """Return the end of what a process wrote to its error output."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - 4 * MAX_LAST_WORDS))
    return " ".join(errors.read().decode("utf-8", "replace").split())[-MAX_LAST_WORDS:]
