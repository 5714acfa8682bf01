"""What replay.json holds: seconds replayed from the completions' actual lengths, and quality at deadlines.

All seconds are decode seconds of one problem, prefill left out, unless a field says otherwise. "static"
and "compact" are the two modes of a batch: it stays at its size until its longest completion ends, or finished rows
leave it. Intervals are 95 % percentile intervals over replicates that draw problems. docs/deadlines.md explains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timetrial.analysis import decode
from timetrial.record import Accounting


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFit:
    """Seconds of one decode step of a model, tau(b, L) = a(b) + c(b) L, as fitted to the timing rows."""

    model: str
    environment: str
    """Key into environment.json."""
    form: str
    """affine: w0 + w1 b + w2 b L; piecewise: linear in b between the measured batches."""
    weights: tuple[float, ...] | None
    """w0, w1 and w2 of the affine fit, in use or not; None if one batch alone was measured."""
    grows_with_context: bool
    """Whether a step's bytes grow with the context; if not, w2 and every c are 0."""
    batches: tuple[int, ...]
    """Batches that were timed at two contexts or more and fitted in memory at all of them."""
    fixed_s: tuple[float, ...]
    """a at each of them."""
    per_token_s: tuple[float, ...]
    """c at each of them: seconds per token of context."""
    contexts: tuple[float, ...]
    """Mean contexts that were timed, ascending."""
    largest_residual: float
    """Of the form in use, over all batches and contexts, relative to the measured medians."""
    affine_residual: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayedSeconds:
    """The expected seconds of a random k-subset of a problem's completions, the mean over problems."""

    model: str
    task: str
    temperature: float
    num_samples: int
    num_problems: int
    num_left_out: int
    """Problems with fewer samples, or with a completion of unknown length."""
    mean_tokens: float
    """Over all completions."""
    longest_tokens: int
    ks: tuple[int, ...]
    mapped_s: tuple[float, ...]
    """T*(k) of the timing grid, where every completion takes the same number of steps."""
    static_s: tuple[float, ...]
    static_low: tuple[float, ...]
    static_high: tuple[float, ...]
    static_splits: tuple[tuple[int, ...], ...]
    """The batches that k samples run in, one after another; several only where that is quicker or they do not fit."""
    compact_s: tuple[float, ...]
    compact_low: tuple[float, ...]
    compact_high: tuple[float, ...]
    compact_splits: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Throughput:
    """A busy engine that takes all completions of all problems, refilling each row as it is free: not a latency."""

    model: str
    task: str
    temperature: float
    num_samples: int
    """Completions of each problem."""
    rows: int
    """Most sequences decoded together."""
    mean_rows: float
    """Rows in use, the mean over the steps."""
    problem_s: float
    """Wall seconds of the whole work over the number of problems."""
    tokens_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadlineCurve:
    """The quality of a rule when the clock stops at T and what is unfinished abstains."""

    model: str
    task: str
    temperature: float
    rule: str
    reward_model: str | None
    reduction: str | None
    gamma: float = 1.0
    """The power that scores were raised to before they were added up."""
    accounting: Accounting = "generation"
    """Whether scoring the k samples, after the last of them, has to be done by the deadline too."""
    mode: str
    """static or compact."""
    num_problems: int
    """Those that all curves of the task have."""
    deadlines_s: tuple[float, ...]
    ks: tuple[int, ...]
    """Samples started together in one batch; none above the largest batch that fits."""
    values: tuple[tuple[float, ...], ...]
    """One row per k, one column per deadline."""
    best: tuple[float, ...]
    """The envelope: the largest value of any k at each deadline."""
    best_ks: tuple[int | None, ...]
    """The k that gives it; None where nothing is solved yet."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """Interval of the envelope, which each replicate takes anew."""
    monte_carlo_errors: tuple[float, ...] | None
    """Standard error of the envelope from drawing subsets or permutations alone; None: exact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadlineDifference:
    """How much more one deadline curve's envelope is worth than another's, on the same problems in each replicate."""

    curve: int
    """Place in the list of deadline curves, as `baseline`."""
    baseline: int
    deadlines_s: tuple[float, ...]
    differences: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """One problem's completions generated end to end, beside what replay says of their very lengths."""

    model: str
    task: str
    temperature: float
    problem: str
    num_samples: int
    num_repeats: int
    wall_s: float
    """Median of the repeats: prefill, decoding and the making of the texts."""
    fastest_s: float
    slowest_s: float
    static_s: float
    """Replayed, prefill included, as the next."""
    compact_s: float
    prefill_s: float
    """What both count for the prefill, from the timing rows."""
    slowdown: float
    """Seconds of a batch of the timing grid, timed right after each repeat, over those of the grid: how much slower
    the machine was than when the run was timed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Something that could not be replayed, why, and what would help."""

    what: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """The content of replay.json."""

    replicates: int
    """Bootstrap replicates behind the intervals."""
    draws: int
    """Random subsets of each k, all problems of a task together, behind what is not exact at a deadline."""
    permutations: int
    """Random permutations per problem behind rules without a closed form once everything is finished."""
    seed: int
    fits: tuple[StepFit, ...]
    seconds: tuple[ReplayedSeconds, ...]
    throughput: tuple[Throughput, ...]
    deadlines: tuple[DeadlineCurve, ...]
    differences: tuple[DeadlineDifference, ...]
    validations: tuple[Validation, ...]
    missing: tuple[Missing, ...]


def replay_to_json(replay: Replay) -> dict[str, Any]:
    """Turn a replay into a JSON-ready dict."""
    return dataclasses.asdict(replay)


def replay_from_json(data: Mapping[str, Any]) -> Replay:
    """Read back what `replay_to_json` made.

    Raises:
        ValueError: a field is missing or unknown; the message names it.
    """
    replay = decode(Replay, data)
    assert isinstance(replay, Replay)
    return replay
