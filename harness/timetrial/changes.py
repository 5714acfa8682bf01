"""What grading anew changed: the records that `timetrial grade` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["right", "wrong", "unknown", "no answer", "not graded"]


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictChange:
    """How many completions went from one outcome to another, or stayed at theirs."""

    before: Outcome
    after: Outcome
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedAnswer:
    """A completion whose outcome changed."""

    problem: str
    sample: int
    gold: str
    answer_before: str | None
    answer: str | None
    before: Outcome
    after: Outcome
    reason: str | None
    """Why there is no verdict or no answer now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesChanges:
    """What grading anew changed in one series."""

    model: str
    task: str
    temperature: float
    num_completions: int
    verdicts: tuple[VerdictChange, ...]
    """Of all completions, also of those that stayed."""
    num_answers_changed: int
    """Completions from which another answer was extracted, or one where there was none, or none any more."""
    num_classes_split: int
    """Answer classes of a problem whose answers are now in several; completions with another answer left out."""
    num_classes_merged: int
    """Answer classes of a problem that now hold the answers of several."""
    accuracy_before: float | None
    """Share of the completions graded before that were right; None if none was."""
    accuracy: float
    """Share of the completions that are right now; unknown ones count as wrong."""
    examples: tuple[ChangedAnswer, ...]
    """The first few of each change."""
