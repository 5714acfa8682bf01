"""What a report is made of: everything the figures, tables and the page read, in one frozen record.

It holds results only. It knows neither run folders nor how the results were computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from timetrial.analysis import Analysis
from timetrial.record import Completion, Curve, Grade, Problem, Series, Timing


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesStatistics:
    """How the sampling of one series went, in counts of completions."""

    series: Series
    num_problems: int
    num_completions: int
    num_truncated: int
    """Cut at the token limit."""
    num_no_answer: int
    """Without an extractable answer: they abstain from every vote."""
    num_errors: int
    """Generation failed."""
    num_unknown: int
    """The grader could not tell right from wrong; they count as wrong."""
    num_identical_problems: int
    """Problems of two or more completions whose texts are all the same."""
    mean_tokens: float | None
    """Generated tokens per completion, over those whose length is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One completion with the problem it answers and how it was graded, shown on the page."""

    problem: Problem
    completion: Completion
    grade: Grade


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportData:
    """The results of one run."""

    title: str
    """Names the run, as in its folder."""
    curves: tuple[Curve, ...]
    analysis: Analysis | None = None
    """What the curves stage derived from the curves; None if there is none."""
    timings: tuple[Timing, ...] = ()
    statistics: tuple[SeriesStatistics, ...] = ()
    examples: tuple[Example, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values
    """config.json: the RunConfig, plugins and versions, checkpoint digests, graders."""
    environment: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values
    """environment.json: hardware and software, by environment key."""
    warnings: tuple[str, ...] = ()
    budget_s: float | None = None
    """The budget the page shows first; None: one in the middle of what was measured."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have curves, in order of appearance."""
        return tuple(dict.fromkeys(curve.task for curve in self.curves))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model with a curve or a timing, in order of appearance; its place decides its colour."""
        names = [curve.model for curve in self.curves] + [timing.model for timing in self.timings]
        return tuple(dict.fromkeys(names))

    @property
    def machines(self) -> dict[str, str]:
        """What to call the machine of each environment key that has timings: its accelerators or its processor."""
        return {
            key: _machine(key, self.environment.get(key))
            for key in dict.fromkeys(timing.environment for timing in self.timings)
        }


def _machine(key: str, facts: Any) -> str:  # Any: JSON values
    if not isinstance(facts, Mapping):
        return key
    accelerators = facts.get("accelerators") or ()
    names = [f"{count} x {name}" if count > 1 else name for name, count in Counter(accelerators).items()]
    return f"{' and '.join(names) or facts.get('processor') or 'machine'} ({key})"
