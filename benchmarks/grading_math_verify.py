"""Ask math-verify as its README does, without its time-outs, which would cancel the caller's alarms."""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
import re
from multiprocessing.connection import Connection

IS_INSTALLED = importlib.util.find_spec("math_verify") is not None
KILL_AFTER_S = 20.0
_FORMULA = re.compile(r"(?<!\\)\$|\\boxed|\\\(|\\\[")
Pair = tuple[str, str]


def wrapped(text: str) -> str:
    """Put a text that holds no formula between dollars."""
    return text if _FORMULA.search(text) else f"${text}$"


def says(gold: str, answer: str) -> bool:
    """Return whether math-verify takes the answer for right."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of the missing time-outs
    expected, given = (parse(text, parsing_timeout=None) for text in (gold, answer))
    return bool(verify(expected, given, timeout_seconds=None))


def _serve(connection: Connection) -> None:
    while True:
        pair = connection.recv()
        try:
            connection.send(says(*pair))
        except Exception:
            connection.send(None)


class Judge:
    """math-verify in a process of its own, which is killed when it hangs, and started anew."""

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None

    def __call__(self, gold: str, answer: str) -> bool | None:
        """Return what it says, or None if it hangs, raises or dies."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, end = context.Pipe()
            self._process = context.Process(target=_serve, args=(end,), daemon=True)
            self._process.start()
            end.close()
        try:
            self._connection.send((gold, answer))
            if self._connection.poll(KILL_AFTER_S):
                verdict: bool | None = self._connection.recv()
                return verdict
        except (EOFError, OSError):  # it died
            pass
        self.stop()
        return None

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
