"""The main program of a worker process: answer questions with one function until the input ends.

`worker.py` runs this file by its path and tells it first where modules are, which function to serve, and the limits.
Messages, both ways, are four bytes of length and then JSON in ASCII (lone surrogates and NUL are escaped):

    in     {"path": [...], "function": "module:name", "memory": bytes, "cpu_s": seconds, "recursion": calls}
    out    {"ready": true}, or {"failed": why} and the end
    in     {"arguments": [...]}
    out    {"value": ...}, {"failed": why}, or {"memory": bytes} and the end: there are too few

Standard library only, since the limits should hold before anything else is imported.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from typing import Any

Message = dict[str, Any]  # Any: what JSON can hold

MAX_ERROR_OUTPUT = 1 << 20
"""Bytes that a worker may write to its error output before the file is emptied."""
MAX_DESCRIPTION = 300
"""Characters of an exception's text."""


class Gone(Exception):
    """The process at the other end of a pipe is gone."""


def send(pipe: FileIO, message: Message) -> None:
    """Write one message.

    Raises:
        Gone: nobody reads it.
    """
    _write(pipe, _encoded(message))


def receive(pipe: FileIO) -> Message:
    """Read one message.

    Raises:
        Gone: there is none, and none will come.
    """
    length = int.from_bytes(_read(pipe, 4), "big")
    message: Message = json.loads(_read(pipe, length))
    return message


def _encoded(message: Message) -> bytes:
    text = json.dumps(message).encode("ascii")
    return len(text).to_bytes(4, "big") + text


def _write(pipe: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[pipe.write(rest) :]
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EINVAL):  # the latter on Windows
            raise  # from a signal handler of the caller, perhaps
        raise Gone from error


def _read(pipe: FileIO, length: int) -> bytes:
    parts = []
    while length:
        part = pipe.read(length)
        if not part:
            raise Gone
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def main() -> None:
    """Serve until the input ends."""
    incoming, outgoing = _take_pipes()
    setup = receive(incoming)
    sys.path[:] = setup["path"]
    sys.setrecursionlimit(setup["recursion"])
    out_of_memory = _encoded({"memory": setup["memory"]})  # made while there is memory
    _limit_process(setup["memory"])
    try:
        function = _load(setup["function"])
    except Exception as error:
        return send(outgoing, {"failed": f"cannot import {setup['function']}: {_describe(error)}"})
    send(outgoing, {"ready": True})
    questions: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(incoming, questions), daemon=True).start()
    while True:
        arguments = questions.get()["arguments"]
        _limit_question(setup["cpu_s"])
        try:
            _write(outgoing, _encoded({"value": function(*arguments)}))
        except MemoryError:
            return _write(outgoing, out_of_memory)
        except BaseException as error:  # libraries raise and exit as they like
            send(outgoing, {"failed": _describe(error)})


def _take_pipes() -> tuple[FileIO, FileIO]:
    """Keep the pipes to oneself: what a library prints goes to the error output, and it finds no input."""
    incoming, outgoing = FileIO(os.dup(0), "rb"), FileIO(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return incoming, outgoing


def _listen(incoming: FileIO, questions: queue.SimpleQueue[Message]) -> None:
    """Pass questions on; end the process as soon as the input ends, whatever it is computing."""
    try:
        while True:
            questions.put(receive(incoming))
    finally:
        os._exit(0)


def _load(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return loaded


def _describe(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # the text of a symbolic object may be as hard to get as its value
        text = ""
    return f"{type(error).__name__}: {text[:MAX_DESCRIPTION]}".rstrip(": ")


def _limit_process(memory: int) -> None:
    """Bound the address space and leave no core files, where the platform can."""
    with suppress(ImportError):
        import resource

        _set_limit(resource.RLIMIT_AS, memory)
        _set_limit(resource.RLIMIT_CORE, 0)


def _limit_question(cpu_s: int) -> None:
    """Bound the processor time of the next question: it ends a worker whose parent is no longer there to do so."""
    with suppress(ImportError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _set_limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + cpu_s + 1)
    if os.fstat(2).st_size > MAX_ERROR_OUTPUT:
        os.lseek(2, 0, os.SEEK_SET)
        os.ftruncate(2, 0)


def _set_limit(kind: int, limit: int) -> None:
    import resource

    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    with suppress(ValueError, OSError):  # some systems know the limit and do not let it be set
        resource.setrlimit(kind, (limit, hard))


if __name__ == "__main__":
    main()
