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
from timetrial.replay_record import Replay


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesStatistics:
    """How the sampling of one series went, in counts of completions."""

    series: Series
    num_problems: int
    num_completions: int
    num_truncated: int
    """Cut at the token limit."""
    num_errors: int
    """Generation failed."""
    num_identical_problems: int
    """Problems of two or more completions whose texts are all the same."""
    mean_tokens: float | None
    """Generated tokens per completion, over those whose length is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GradingStatistics:
    """How the answers of one series were graded, in counts of completions: together they are all completions."""

    series: Series
    num_right: int
    num_wrong: int
    unknown: tuple[tuple[str, int], ...]
    """By kind of reason, the most frequent first: the grader could not tell, or extraction or grading broke."""
    num_no_answer: int
    """No answer in a text that was not cut: it abstains from every vote."""
    num_cut: int
    """Cut at the token limit before an answer, or inside it; abstains."""
    num_failed: int
    """Generation failed: there is no text; abstains."""
    num_second_opinions: int
    """Of the verdicts right and wrong, those of the grader that gives second opinions."""
    graders: tuple[str, ...]
    """Names of all graders with a verdict."""

    @property
    def num_unknown(self) -> int:
        """Completions without a verdict on their text; they count as wrong."""
        return sum(count for _, count in self.unknown)

    @property
    def num_completions(self) -> int:
        """All completions."""
        graded = self.num_right + self.num_wrong + self.num_unknown
        return graded + self.num_no_answer + self.num_cut + self.num_failed

    @property
    def accuracy_bounds(self) -> tuple[float, float]:
        """Share of the completions that are right, unknown ones counted as wrong, and counted as right."""
        total = self.num_completions
        return self.num_right / total, (self.num_right + self.num_unknown) / total


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringStatistics:
    """What a reward model made of one series, in counts of completions."""

    series: Series
    reward_model: str
    num_scored: int
    unscored: tuple[tuple[str, int], ...]
    """By kind of reason, the most frequent first."""
    mean_steps: float | None
    """Scores per scored completion; None if there is none."""

    @property
    def num_completions(self) -> int:
        """Completions that it was asked about."""
        return self.num_scored + sum(count for _, count in self.unscored)


@dataclass(frozen=True, kw_only=True, slots=True)
class GraderFacts:
    """A grader on record."""

    task: str
    role: str
    """grader, or second opinion."""
    name: str
    policy: Mapping[str, Any]  # Any: JSON values


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownAnswer:
    """An answer that the grader could not judge."""

    task: str
    problem: str
    """The first with this answer and reason."""
    gold: str | None
    """None if the run does not hold the problem any more."""
    answer: str | None
    """None if extraction or grading broke before there was one."""
    reason: str
    count: int
    """Completions with this answer and reason."""


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
    grading: tuple[GradingStatistics, ...] = ()
    scoring: tuple[ScoringStatistics, ...] = ()
    graders: tuple[GraderFacts, ...] = ()
    unknown_answers: tuple[UnknownAnswer, ...] = ()
    """Some of them."""
    examples: tuple[Example, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values
    """config.json: the RunConfig, plugins and versions, checkpoint digests, graders."""
    environment: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values
    """environment.json: hardware and software, by environment key."""
    replay: Replay | None = None
    """Seconds replayed from actual lengths, and quality at deadlines; None if the run was never replayed."""
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
    def baseline(self) -> str | None:
        """The model that speed-ups are over: the one asked for, else the first that was timed."""
        return self.asked_baseline or next((timing.model for timing in self.timings), None)

    @property
    def asked_baseline(self) -> str | None:
        """The model that speed-ups were asked to be over; None if none was named."""
        asked: str | None = self.config.get("config", {}).get("baseline")
        return asked

    @property
    def machines(self) -> dict[str, str]:
        """What to call the machine of each environment key that has timings: its accelerators or its processor."""
        return {
            key: machine_label(key, self.environment.get(key))
            for key in dict.fromkeys(timing.environment for timing in self.timings)
        }


def machine_label(key: str, facts: Any) -> str:  # Any: JSON values
    """Name the machine of an entry of environment.json: its accelerators or its processor, and the entry's key."""
    if not isinstance(facts, Mapping):
        return key
    accelerators = facts.get("accelerators") or ()
    names = [f"{count} x {name}" if count > 1 else name for name, count in Counter(accelerators).items()]
    return f"{' and '.join(names) or facts.get('processor') or 'machine'} ({key})"
