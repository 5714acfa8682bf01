"""Ask a function that may hang, crash or eat all memory, in a process that can be killed.

The caller may have threads, devices and signal handlers, and none of them is touched; Ctrl-C passes the processes by,
and they end by themselves when this one is gone.
"""

from __future__ import annotations

import math
import os
import queue
import sys
import weakref
from contextlib import suppress
from dataclasses import dataclass

from timetrial_plugins.grading import serve
from timetrial_plugins.grading.process import Outcome, Process

MAX_WORKERS = 4
"""Of a pool: as many questions at once as cores, and no more processes than memory bears on a large machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a question may cost. Memory is not limited on Windows and macOS."""

    time_s: float = 1.5
    """Wall-clock seconds from the question to its answer. The start of a process is not included, which is half a
    second where sympy is imported."""
    start_s: float = 60.0
    """Wall-clock seconds for starting the process and its imports."""
    memory: int = 2 << 30
    """Bytes of address space."""
    recursion: int = 3_000
    """Nested calls."""


class WorkerPool:
    """A few worker processes that serve one function, each started when it is first needed.

    Safe to use from many threads: each question has a process to itself, so that one that hangs does not hold up the
    others, and further questions wait for a free process (last used first: a single thread only ever starts one).
    After a fork the child starts its own processes and leaves its parent's alone.
    """

    def __init__(self, function: str, *, limits: Limits | None = None, size: int | None = None) -> None:
        """Serve `function`, written module:name; it takes and returns what JSON can hold. No process starts yet."""
        self.limits = limits or Limits()
        self._function = function
        self._size = size or min(MAX_WORKERS, os.cpu_count() or 1)
        self._fill()
        if hasattr(os, "register_at_fork"):
            after_fork = weakref.WeakMethod(self._start_over)
            os.register_at_fork(after_in_child=lambda: (method := after_fork()) and method())

    def ask(self, *arguments: object) -> Outcome:
        """Return what the function says of JSON-ready arguments; blocks for little more than the limits allow.

        Raises:
            RuntimeError: no thread can be started, since there are too many or the program is ending.
        """
        worker = self._idle.get()
        try:
            return worker.ask(arguments)
        finally:
            self._idle.put(worker)

    def stop(self) -> None:
        """End the processes that are not being asked; the next question starts a new one."""
        idle: list[_Worker] = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for worker in idle:
            worker.stop()
            self._idle.put(worker)

    def _fill(self) -> None:
        self._workers = [_Worker(self._function, self.limits) for _ in range(self._size)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def _start_over(self) -> None:
        """Forget the parent's processes, and a queue that its other threads may have locked as it forked."""
        for worker in self._workers:
            worker.forget()
        self._fill()


class _Worker:
    """One process at a time, replaced when it is gone; used by one thread at a time."""

    def __init__(self, function: str, limits: Limits) -> None:
        self._function = function
        self._limits = limits
        self._process: Process | None = None

    def ask(self, arguments: tuple[object, ...]) -> Outcome:
        outcome: Outcome | None = None
        try:
            if self._process is None or not self._process.is_alive():
                outcome = self._start()
            if outcome is None:
                assert self._process is not None, "it has just been started"
                outcome = self._process.exchange({"arguments": arguments}, self._limits.time_s)
            return outcome
        finally:
            # Also if a signal handler of the caller raised: the answer would be taken for that to the next question.
            if outcome is None or outcome.ending not in ("answered", "failed"):
                self.stop()

    def _start(self) -> Outcome | None:
        """Start a process; return what went wrong, if anything did."""
        self.stop()
        try:
            self._process = Process()
        except OSError as error:  # no such program, no more processes or files, no temporary folder
            if error.errno is None:
                raise  # from a signal handler of the caller
            return Outcome(ending="died", detail=f"a worker process could not be started: {error}")
        setup: serve.Message = {
            "path": [place for place in sys.path if isinstance(place, str)],
            "function": self._function,
            "memory": self._limits.memory,
            "cpu_s": math.ceil(self._limits.time_s),
            "recursion": self._limits.recursion,
        }
        outcome = self._process.exchange(setup, self._limits.start_s)
        if outcome.ending == "answered":
            return None
        self.stop()
        return outcome

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def forget(self) -> None:
        if self._process is not None:
            self._process.forget()
            self._process = None
