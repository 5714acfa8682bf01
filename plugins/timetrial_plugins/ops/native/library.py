"""The C functions as Python calls them: their arguments in order, as the sources declare them, and lists of calls."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_LAYOUTS: Mapping[str, str] = {
    "embed": "PP Pq q",
    "add_norm": "Pq Pq P d q Pq q",
    "gated_product": "Pq Pq q",
    "rotate_and_store": "Pq PP PP PPqq qqq",
    "attend": "Pq PPqq P PPqq PP Pq qqq",
    "llamba": "Pq PqPq PPq PP P Pq qqqq",
    "mamba1": "Pq Pq PqPq PPq PP P P Pq qqqq",
    "mamba2": "Pq PqPq PPq PP PP d P Pq qqqq",
    "draw": "Pq PP d PP P q",
    "count": "Pq P q",
    "product": "Pq P Pq Pq q qq",
}
"""The arguments of each function: P a pointer, q a whole number, d a float, all of eight bytes; spaces mean nothing."""

Argument = int | float | None


class _Entry(ctypes.Structure):
    _fields_ = (("function", ctypes.c_void_p), ("arguments", ctypes.c_char_p))


class Call(NamedTuple):
    """A call of a function, for any number of rows."""

    name: str
    arguments: bytes


class Library:
    """The functions of a built library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Take the functions from a library, which is not closed."""
        self._addresses = {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _LAYOUTS}
        self._layouts = {name: struct.Struct(layout.replace("P", "q")) for name, layout in _LAYOUTS.items()}
        self._run = library.run
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
        self._run.restype = None
        library.panel_outputs.argtypes = []
        library.panel_outputs.restype = ctypes.c_int64
        self.panel_outputs: int = library.panel_outputs()
        """Outputs of a matrix whose weights are laid out together."""

    def call(self, name: str, *arguments: Argument) -> Call:
        """Return a call of a function; None is the address of nothing."""
        return Call(name, self._layouts[name].pack(*[0 if one is None else one for one in arguments]))

    def prepared(self, calls: Sequence[Call], room: object = None) -> Calls:
        """Return calls as one function, which keeps the room that they work in."""
        entries = (_Entry * len(calls))(*[_Entry(self._addresses[call.name], call.arguments) for call in calls])
        return Calls(self._run, calls, entries, room)


class Calls:
    """Calls one after the other, on all threads, without Python in between; they release its lock while they run."""

    # Any: ctypes has no public type for a function
    def __init__(self, run: Any, calls: Sequence[Call], entries: ctypes.Array[_Entry], room: object) -> None:
        self._run, self._calls, self._entries = run, calls, entries  # entries point into the calls
        self._room = room

    def __call__(self, rows: int) -> None:
        """Make the calls for so many rows."""
        self._run(self._entries, len(self._calls), rows, None)

    def timed(self, rows: int) -> Sequence[tuple[str, float]]:
        """Make the calls for so many rows; return the name of each function and the seconds it took."""
        seconds = (ctypes.c_double * len(self._calls))()
        self._run(self._entries, len(self._calls), rows, seconds)
        return [(call.name, taken) for call, taken in zip(self._calls, seconds, strict=True)]
