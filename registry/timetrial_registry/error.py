"""The root of timetrial's exception tree, and the registry's branch of it.

The root sits on the ground floor because every package raises into one tree; `timetrial.error` draws it whole.
"""

from __future__ import annotations


class TimetrialError(Exception):
    """Something a user or plugin author can mend; the message says what, where and how."""

    exit_code = 1


class CheckpointError(TimetrialError):
    """A reference names no usable checkpoint: not there, not a checkpoint, or its tensors do not fit."""

    exit_code = 4


class UnknownVersionError(CheckpointError):
    """A reference names no version in the registry."""


class RegistryError(TimetrialError):
    """The registry cannot be used so: a wrong value, a damaged or busy store, a refused change."""

    exit_code = 6


class AliasConflictError(RegistryError):
    """An alias does not stand where its mover expected it: somebody else has moved it."""
