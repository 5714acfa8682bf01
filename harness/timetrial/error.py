"""Every error timetrial raises on purpose, in one tree; the CLI turns each into a paragraph and an exit code.

    TimetrialError                   1   root (timetrial_registry.error)
    |-- CheckpointError              4   a reference names no usable checkpoint (timetrial_registry.error)
    |   `-- UnknownVersionError      4   ... no version in the registry; offers the closest match
    |-- RegistryError                6   a damaged, busy or read-only registry, or a change it refuses (the same)
    |   `-- AliasConflictError       6   an alias does not stand where its mover expected it
    |-- UsageError                   2   a value given by the user is wrong
    |   `-- UnknownNameError         2   no model, task, aggregator, ... of that name; offers the closest match
    |-- PluginError                  3   a plugin cannot be loaded, or broke its contract
    |-- DataError                    4   a data file has a bad line or lacks a column; names file and line
    `-- RunError                     5   the run folder cannot be used
        |-- RunLockedError           5   another process writes to it
        `-- ConfigMismatchError      5   it was made with another configuration; shows the difference

Ctrl-C exits with 130. An exit code of 70 is a bug in timetrial itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from timetrial_registry.error import CheckpointError, TimetrialError

__all__ = [
    "CheckpointError",
    "ConfigMismatchError",
    "DataError",
    "PluginError",
    "RunError",
    "RunLockedError",
    "TimetrialError",
    "UnknownNameError",
    "UsageError",
    "closest_match",
]


class UsageError(TimetrialError):
    """A value given by the user is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """Nothing of that kind has the name.

    The message offers the closest known name, or lists all of them when none is close.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        suggestion = closest_match(name, names)
        if suggestion:
            expected = f"did you mean {suggestion!r}?"
        else:
            expected = f"known: {', '.join(names)}." if names else "none is installed."
        super().__init__(f"unknown {kind} {name!r}: {expected}{' ' + hint if hint else ''}")
        self.kind = kind
        self.name = name
        self.suggestion = suggestion


class PluginError(TimetrialError):
    """A plugin cannot be loaded, or broke its contract; names plugin, distribution and cause."""

    exit_code = 3


class DataError(TimetrialError):
    """A data file has a bad line or lacks a column."""

    exit_code = 4

    def __init__(self, message: str, path: Path | str, line: int | None = None) -> None:
        super().__init__(f"{path}{f', line {line}' if line is not None else ''}: {message}")
        self.path = Path(path)
        self.line = line


class RunError(TimetrialError):
    """The run folder cannot be used."""

    exit_code = 5


class RunLockedError(RunError):
    """Another process writes to the run folder."""


class ConfigMismatchError(RunError):
    """The run folder was made with another configuration."""


def closest_match(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, or None if none is close; case does not count."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None
