"""Tables read off the curves alone: values by samples, and the best configuration within T seconds or of k samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from timetrial.accounting import charged, generated
from timetrial.record import Curve
from timetrial.report.labels import (
    CHOSEN_HERE,
    ONLY_COVERAGE,
    is_choosing,
    percent,
    rule_label,
    seconds_label,
    series_label,
    timed_rule_label,
)
from timetrial.report.points import Point, best_within, timed_points
from timetrial.report.table import Cell, Table, pivot
from timetrial.statistics.budget import budget_ladder


def budgets(points: Sequence[Point]) -> tuple[float, ...]:
    """Return the round budgets (1, 2 and 5 times a power of ten seconds) between the quickest and slowest point.

    The first round number above the slowest is added: within it, everything that was measured is allowed.
    """
    if not points:
        return ()
    low, high = min(point.seconds for point in points), max(point.seconds for point in points)
    ladder = budget_ladder(low, 10 * high)
    above = next(budget for budget in ladder if budget >= high)
    return tuple(budget for budget in ladder if budget < high) + (above,)


def samples_tables(curves: Sequence[Curve]) -> Iterator[Table]:
    """Make one table per task and rule: a row per series, a column per k."""
    curves = generated(curves)
    for task, rule in dict.fromkeys((curve.task, rule_label(curve)) for curve in curves):
        shown = [curve for curve in curves if (curve.task, rule_label(curve)) == (task, rule)]
        yield pivot(
            f"{task}: {rule} by samples",
            ("model",),
            (
                Cell(
                    (series_label(curve.series),),
                    f"k = {k}",
                    _with_error(curve, k),
                )
                for k in sorted({k for curve in shown for k in curve.ks})
                for curve in shown
                if k in curve.ks
            ),
            f"Percent of problems +- standard error over problems. {_monte_carlo_note(shown)}".strip(),
        )


def best_tables(curves: Sequence[Curve]) -> Iterator[Table]:
    """Make one table per timed task: the best configuration within each budget T, among rules that choose."""
    for task in dict.fromkeys(curve.task for curve in curves):
        points = timed_points(answering_curves(curves, task))
        if points:
            bests = [(budget, best_within(points, budget)[0]) for budget in budgets(points)]
            yield Table(
                title=f"{task}: the best configuration within T seconds",
                columns=("T", "model", "rule", "k", "solved, %", "95 % interval", "takes"),
                rows=tuple((seconds_label(budget), *_configuration(point)) for budget, point in bests),
                num_text_columns=3,
                note=f"{CHOSEN_HERE} {coverage_note(point.curve for point in points)}".strip(),
            )


def best_by_samples_table(curves: Sequence[Curve], task: str) -> Table:
    """Make the table of the best model and rule at each k, for tasks without times."""
    ks = sorted({k for curve in curves for k in curve.ks})
    bests = [
        max((curve for curve in curves if k in curve.ks), key=lambda curve: _at(curve.values, curve, k)) for k in ks
    ]
    return Table(
        title=f"{task}: the best configuration of k samples",
        columns=("k", "model", "rule", "solved, %", "95 % interval"),
        rows=tuple(
            (
                str(k),
                series_label(best.series),
                rule_label(best),
                percent(_at(best.values, best, k)),
                f"{percent(_at(best.low, best, k))} to {percent(_at(best.high, best, k))}",
            )
            for k, best in zip(ks, bests, strict=True)
        ),
        num_text_columns=3,
        note=f"{CHOSEN_HERE} {coverage_note(curves)}".strip(),
    )


def answering_curves(curves: Sequence[Curve], task: str) -> list[Curve]:
    """Return the task's curves whose rules choose an answer, each at its full cost; coverage if there are no others."""
    of_task = charged(curve for curve in curves if curve.task == task)
    return [curve for curve in of_task if is_choosing(curve)] or of_task


def coverage_note(curves: Iterable[Curve]) -> str:
    """Return a warning if the curves are coverage, for want of a rule that chooses; "" otherwise."""
    if any(is_choosing(curve) for curve in curves):
        return ""
    return ONLY_COVERAGE


def _configuration(point: Point) -> tuple[str, ...]:
    interval = f"{percent(point.low)} to {percent(point.high)}"
    return (
        series_label(point.curve.series),
        timed_rule_label(point.curve),
        str(point.k),
        percent(point.value),
        interval,
        seconds_label(point.seconds),
    )


def _at(shares: Sequence[float], curve: Curve, k: int) -> float:
    return shares[curve.ks.index(k)]


def _with_error(curve: Curve, k: int) -> str:
    value = percent(_at(curve.values, curve, k))
    return f"{value} +- {percent(_at(curve.standard_errors, curve, k))}" if curve.standard_errors else value


def _monte_carlo_note(curves: Sequence[Curve]) -> str:
    errors = [error for curve in curves for error in curve.monte_carlo_errors or ()]
    return f"Monte Carlo error of the estimate: at most {percent(max(errors))} points." if errors else ""
