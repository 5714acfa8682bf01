"""The leaderboard: which configuration of several runs solves the most problems within a budget of seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from timetrial.accounting import counts_verifier, identity
from timetrial.error import UsageError
from timetrial.record import Curve
from timetrial.report.labels import curve_label, is_choosing, seconds_label
from timetrial.report.points import Point, best_within, merit, timed_points


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCurves:
    """The curves of one run, and the machine they were timed on."""

    run: str
    curves: tuple[Curve, ...]
    machines: tuple[str, ...]
    """Environment keys of the run's timings, or the names of the machines; () if nothing was timed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A row of the leaderboard: the best that one curve offers within the budget."""

    rank: int
    """From 1, within the task."""
    run: str
    task: str
    model: str
    temperature: float
    k: int
    rule: str
    reward_model: str | None
    reduction: str | None
    gamma: float
    counts_verifier: bool | None
    """Whether the seconds hold the reward model's; None if the rule takes no scores."""
    value: float
    low: float
    high: float
    seconds: float
    """Seconds of decoding the k samples, and of scoring them if that is counted; at most the budget."""
    num_problems: int
    overlaps_best: bool
    """Whether its 95 % interval reaches into that of the task's first row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unranked:
    """A curve that has no place on the leaderboard, and why."""

    run: str
    curve: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaderboard:
    """The standings of every task at one budget."""

    budget_s: float
    standings: tuple[Standing, ...]
    """Task by task, best first."""
    unranked: tuple[Unranked, ...]


def rank(
    runs: Sequence[RunCurves], budget_s: float, *, mix_machines: bool = False, with_coverage: bool = False
) -> Leaderboard:
    """Rank the curves of `runs`, each by the best number of samples that fits `budget_s` seconds per problem.

    What scoring takes is paid for out of the budget wherever it was timed. Coverage is left out unless asked for: it is
    what a perfect verifier would reach, not a way of choosing.

    Raises:
        UsageError: the runs were timed on different machines and `mix_machines` is false; the budget is not positive;
            there is nothing to rank.
    """
    if not budget_s > 0:
        raise UsageError(f"a budget of {budget_s:g} s: expected a positive number of seconds.")
    if not mix_machines:
        _refuse_mixture(runs)
    kept = [
        replace(run, curves=tuple(curve for curve in run.curves if with_coverage or is_choosing(curve)))
        for run in _charged(runs)
    ]
    if not any(run.curves for run in kept):
        only_coverage = any(run.curves for run in runs)
        raise UsageError(
            "the runs hold coverage only, which chooses no answer: pass --coverage to rank that."
            if only_coverage
            else "the runs hold no curves: expected runs whose samples were graded."
        )
    tasks = dict.fromkeys(curve.task for run in kept for curve in run.curves)
    standings = [row for task in tasks for row in _rank_task(kept, task, budget_s)]
    unranked = [reason for run in kept for curve in run.curves if (reason := _why_unranked(run.run, curve, budget_s))]
    return Leaderboard(budget_s=budget_s, standings=tuple(standings), unranked=tuple(unranked))


def on_machine(runs: Sequence[RunCurves], name: str) -> list[RunCurves]:
    """Return those of `runs` that were timed on the machine whose name, or key, holds `name`.

    Raises:
        UsageError: there is none; lists the machines.
    """
    found = [run for run in runs if any(name.lower() in machine.lower() for machine in run.machines)]
    if not found:
        machines = sorted({machine for run in runs for machine in run.machines})
        raise UsageError(f"nothing was timed on a machine {name!r}: there are {', '.join(machines) or 'none'}.")
    return found


def overlaps(point: Point, best: Point) -> bool:
    """Whether the 95 % intervals of two points meet; a paired comparison is sharper than this."""
    return point.high >= best.low and best.high >= point.low


def _charged(runs: Sequence[RunCurves]) -> list[RunCurves]:
    """Leave out every curve that stands there, of the same run and machine, with its verifier counted."""
    counted = {
        (run.run, run.machines, *identity(curve)) for run in runs for curve in run.curves if counts_verifier(curve)
    }

    def is_charged(run: RunCurves, curve: Curve) -> bool:
        return bool(counts_verifier(curve)) or (run.run, run.machines, *identity(curve)) not in counted

    return [replace(run, curves=tuple(curve for curve in run.curves if is_charged(run, curve))) for run in runs]


def _rank_task(runs: Sequence[RunCurves], task: str, budget_s: float) -> list[Standing]:
    entries = [
        (run.run, point)
        for run in runs
        for point in best_within(timed_points(curve for curve in run.curves if curve.task == task), budget_s)
    ]
    entries.sort(key=lambda entry: merit(entry[1]), reverse=True)
    return [
        Standing(
            rank=number,
            run=run,
            task=point.curve.task,
            model=point.curve.model,
            temperature=point.curve.temperature,
            k=point.k,
            rule=point.curve.rule,
            reward_model=point.curve.reward_model,
            reduction=point.curve.reduction,
            gamma=point.curve.gamma,
            counts_verifier=counts_verifier(point.curve),
            value=point.value,
            low=point.low,
            high=point.high,
            seconds=point.seconds,
            num_problems=point.curve.num_problems,
            overlaps_best=overlaps(point, entries[0][1]),
        )
        for number, (run, point) in enumerate(entries, start=1)
    ]


def _why_unranked(run: str, curve: Curve, budget_s: float) -> Unranked | None:
    seconds = [point.seconds for point in timed_points([curve])]
    if seconds and min(seconds) <= budget_s:
        return None
    reason = f"needs at least {seconds_label(min(seconds))}" if seconds else "not timed: run `timetrial time` first"
    return Unranked(run=run, curve=f"{curve.task}: {curve_label(curve)}", reason=reason)


def _refuse_mixture(runs: Iterable[RunCurves]) -> None:
    timed = {run.run: run.machines for run in runs if run.machines}
    if len({machine for machines in timed.values() for machine in machines}) > 1:
        listing = "; ".join(f"{run} on {', '.join(machines)}" for run, machines in timed.items())
        raise UsageError(
            f"seconds of different machines do not compare: {listing}. Rank runs of one machine "
            "(--machine takes part of its name), or pass --mix-machines to rank them all the same."
        )
