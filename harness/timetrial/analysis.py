"""The derived results of a run: the "analysis" object of curves.json, beside its list of curves.

Curves are named by their place in that list. Times are decode seconds of k samples of one problem, T*(k), prefill left
out; where the curve's accounting says so, those of scoring them are added. Intervals are 95 % percentile intervals over
replicates that draw problems (the same for all curves of a comparison) and one timing repeat per model and batch size
together.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timetrial.record import Accounting


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolFacts:
    """What went into the curves of one series."""

    model: str
    task: str
    temperature: float
    num_samples: int
    """Samples per problem, N."""
    num_problems: int
    """Problems with all N samples graded: those the curves are about."""
    num_left_out: int
    """Problems left out for having fewer."""
    num_abstaining: int | None = None
    """Samples without an answer."""
    num_unknown: int | None = None
    """Samples whose answer the grader could not judge; they vote, and count as wrong."""
    num_split_classes: int | None = None
    """Answer classes whose members were judged differently: a sign of a grader that is not an equivalence.

    None, as the two above, if only counts were imported."""
    num_scored: tuple[tuple[str, int], ...] = ()
    """(reward model, problems about all of whose answers it was asked): those the rules that take scores are about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedRule:
    """A rule that could not be computed for a series, and why."""

    model: str
    task: str
    temperature: float
    rule: str | None
    """None: every rule."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UntimedVerifier:
    """A reward model whose seconds are in no curve, and why."""

    reward_model: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeTable:
    """The seconds of one model: measured batches, and T*(k) with the split that attains it."""

    model: str
    """The model that decodes, or the reward model that scores."""
    prompt_tokens: int
    new_tokens: int
    """Tokens decoded, or those of a solution that is scored."""
    environment: str
    """Key into environment.json."""
    batches: tuple[int, ...]
    """Batch sizes that fitted, ascending."""
    batch_seconds: tuple[float, ...]
    """Median seconds of each over the timed repeats: of decoding, or of scoring."""
    num_repeats: tuple[int, ...]
    out_of_memory: tuple[int, ...]
    """Batch sizes that did not fit."""
    ks: tuple[int, ...]
    seconds: tuple[float, ...]
    """T*(k), one per k."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    splits: tuple[tuple[int, ...], ...]
    """The batches that T*(k) runs, largest first; sizes between measured ones are interpolated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """How much better one curve is than another at equal k, on the same problems."""

    curve: int
    baseline: int
    ks: tuple[int, ...]
    differences: tuple[float, ...]
    """Mean over problems of curve minus baseline, one per k."""
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetValue:
    """The best that a curve offers within a budget."""

    curve: int
    budget_s: float
    k: int | None
    """The samples that give it; None if not even one fits, and then the value is 0."""
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeToReach:
    """The least seconds at which a curve reaches a level."""

    curve: int
    level: float
    seconds: float | None
    """None: not reached at any measured k (censored)."""
    low: float | None
    high: float | None
    """None: beyond what was measured."""
    censored_share: float
    """Share of the replicates in which the level is not reached."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedUp:
    """How many times sooner a curve reaches a level than the baseline does. The reverse is 1 / ratio."""

    curve: int
    baseline: int
    level: float
    ratio: float | None
    """None: one of the two does not reach the level (censored)."""
    low: float | None
    high: float | None
    """None: beyond what was measured."""
    censored_share: float
    """Share of the replicates in which at least one of the two does not reach the level."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveArea:
    """The mean over log time, on the comparison's time range, of the best value so far."""

    curve: int
    area: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ParetoPoint:
    """One configuration: a curve at a k."""

    curve: int
    k: int
    seconds: float
    value: float
    is_dominated: bool
    """Another configuration takes no longer and is worth no less, one of the two strictly (values to 1e-9)."""
    front_probability: float
    """Share of the replicates in which it is not dominated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontShare:
    """How much of the Pareto front one series owns."""

    model: str
    temperature: float
    dominated_share: float
    """Share of its configurations that are dominated."""
    share: float
    """Share of the comparison's log time range at which it holds the best value so far."""
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All curves of a task that answer the same question, compared on the problems they have in common."""

    task: str
    rule: str | None
    """"coverage", an aggregator's name, or None: every aggregator, coverage left out."""
    reward_model: str | None
    accounting: Accounting | None = "generation"
    """What the seconds of its curves count; None, if `rule` is None: the verifier too wherever its time is known."""
    curves: tuple[int, ...]
    num_problems: int
    """Problems common to all of them; values here are over these."""
    differences: tuple[PairedDifference, ...] = ()
    """Every pair of curves once; empty if `rule` is None, or if the curves stand in another comparison without the
    verifier's seconds: at equal k they are the same."""
    time_range_s: tuple[float, float] | None = None
    """From the first to the last T*(k) of the task's curves; None if none is timed, and then the rest is empty."""
    budget_values: tuple[BudgetValue, ...] = ()
    times_to_reach: tuple[TimeToReach, ...] = ()
    speed_ups: tuple[SpeedUp, ...] = ()
    """Every pair of curves once, at each level that at least one of them reaches."""
    areas: tuple[CurveArea, ...] = ()
    """This and the three above are empty if `rule` is None."""
    front: tuple[ParetoPoint, ...] = ()
    """Every timed configuration, on the front or not."""
    front_shares: tuple[FrontShare, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """Everything derived from the curves of a run."""

    replicates: int
    """Bootstrap replicates behind the intervals of comparisons and time tables."""
    curve_replicates: int
    """Bootstrap replicates behind the bands of the curves."""
    permutations: int
    """Random permutations per problem behind each Monte Carlo estimate."""
    seed: int
    pools: tuple[PoolFacts, ...]
    skipped: tuple[SkippedRule, ...]
    time_tables: tuple[TimeTable, ...]
    verifier_tables: tuple[TimeTable, ...] = ()
    """Of each reward model, for the completions of each run that are compared: seconds of scoring k samples."""
    untimed_verifiers: tuple[UntimedVerifier, ...] = ()
    """Reward models that scored, and whose rules' seconds count generation alone."""
    comparisons: tuple[Comparison, ...]


def analysis_to_json(analysis: Analysis) -> dict[str, Any]:
    """Turn an analysis into a JSON-ready dict."""
    return dataclasses.asdict(analysis)


def analysis_from_json(data: Mapping[str, Any]) -> Analysis:
    """Read back what `analysis_to_json` made.

    Raises:
        ValueError: a field is missing or unknown; the message names it.
    """
    analysis = decode(Analysis, data)
    assert isinstance(analysis, Analysis)
    return analysis


def decode(hint: Any, value: Any) -> Any:  # Any: a type as annotated above, and the JSON value of that type
    """Make a dataclass, with all that it holds, from what `dataclasses.asdict` and JSON made of it.

    Fields with a default may be absent: those that are younger than the file.

    Raises:
        ValueError: a field is missing or unknown; the message names it.
    """
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        required = {field.name for field in dataclasses.fields(hint) if _is_required(field)}
        wrong = (required - set(value)) | (set(value) - set(hints))
        if wrong:
            raise ValueError(f"not a {hint.__name__}: missing or unknown {', '.join(sorted(wrong))}")
        return hint(**{name: decode(hints[name], value[name]) for name in value})
    options = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return None if value is None else decode(options[0], value)
    if typing.get_origin(hint) is tuple:
        items = [options[0]] * len(value) if options[-1] is Ellipsis else options
        return tuple(decode(item, part) for item, part in zip(items, value, strict=True))
    return value


def _is_required(field: dataclasses.Field[Any]) -> bool:  # Any: the type of its values
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
