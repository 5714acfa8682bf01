"""What a check yields: a finding, and how to mend it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from timetrial_registry.records import Finding, Severity

Mend = Callable[[sqlite3.Connection], str]
"""Mends a problem within a transaction, looking again first; returns what was done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A finding, and what mends it; None if nothing can."""

    finding: Finding
    mend: Mend | None


def problem(kind: str, subject: str, detail: str, severity: Severity = "error", *, mend: Mend | None = None) -> Problem:
    """Return a problem."""
    return Problem(finding=Finding(kind=kind, subject=subject, detail=detail, severity=severity), mend=mend)
