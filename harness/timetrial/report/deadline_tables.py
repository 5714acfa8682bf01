"""The tables of quality at deadlines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from timetrial.accounting import WITH_VERIFIER
from timetrial.record import Series
from timetrial.replay_record import DeadlineCurve, Replay
from timetrial.report.labels import CHOSEN_HERE, VERIFIER, percent, points, rule_name, seconds_label, series_label
from timetrial.report.table import Cell, Table, pivot

ABSTAINING = (
    "The clock stops at the deadline, and samples that are unfinished abstain. Decode seconds of one problem, prefill "
    "left out. Where the verifier is counted, all samples are scored after the last of them ends, by the deadline too."
)


def deadline_tables(replay: Replay) -> Iterator[Table]:
    """Make, for each task and mode, a table of the best k at each deadline, and one of paired differences."""
    for task, mode in dict.fromkeys((curve.task, curve.mode) for curve in replay.deadlines):
        shown = [curve for curve in replay.deadlines if (curve.task, curve.mode) == (task, mode)]
        yield pivot(
            f"{task}: solved at a deadline, %, {mode} batch",
            ("model", "rule"),
            (cell for curve in shown for cell in _cells(curve)),
            f"{ABSTAINING} In brackets the samples started together that solve most by then. {CHOSEN_HERE}",
        )
        differences = list(_difference_cells(replay, task, mode))
        if differences:
            yield pivot(
                f"{task}: differences at a deadline, points, {mode} batch",
                ("model minus baseline", "rule"),
                differences,
                "Best k of each at the deadline, with the 95 % interval of the difference, paired by problem.",
            )


def round_deadlines(deadlines_s: Sequence[float]) -> list[int]:
    """Return the places of the deadlines that are 1, 2 or 5 times a power of ten, and of the last one."""
    shown = [place for place, deadline in enumerate(deadlines_s) if f"{deadline:e}"[:3] in ("1.0", "2.0", "5.0")]
    return sorted({*shown, len(deadlines_s) - 1})


def _cells(curve: DeadlineCurve) -> Iterator[Cell]:
    row = (series_label(Series(curve.model, curve.task, curve.temperature)), deadline_rule(curve))
    for at in round_deadlines(curve.deadlines_s):
        k = curve.best_ks[at]
        text = "0.0" if k is None else f"{percent(curve.best[at])} (k={k})"
        yield Cell(row, seconds_label(curve.deadlines_s[at]), text)


def _difference_cells(replay: Replay, task: str, mode: str) -> Iterator[Cell]:
    for each in replay.differences:
        curve, baseline = replay.deadlines[each.curve], replay.deadlines[each.baseline]
        if (curve.task, curve.mode) != (task, mode):
            continue
        names = [series_label(Series(side.model, side.task, side.temperature)) for side in (curve, baseline)]
        row = (" minus ".join(names), deadline_rule(curve))
        for at in round_deadlines(each.deadlines_s):
            text = f"{points(each.differences[at])} ({points(each.low[at])} to {points(each.high[at])})"
            yield Cell(row, seconds_label(each.deadlines_s[at]), text)


def plain_rule(curve: DeadlineCurve) -> str:
    """Name a curve's rule, with the reward model and what becomes of its scores if it takes any."""
    return rule_name(curve.rule, curve.reward_model, curve.reduction, curve.gamma)


def deadline_rule(curve: DeadlineCurve) -> str:
    """Name a curve's rule, and say whether scoring has to be done by the deadline, if it takes scores."""
    is_counted = None if curve.reward_model is None else curve.accounting == WITH_VERIFIER
    return f"{plain_rule(curve)}{VERIFIER[is_counted]}"
