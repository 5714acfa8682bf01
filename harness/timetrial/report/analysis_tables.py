"""Tables of the analysis: budgets, equal quality, paired differences, the Pareto front, and what the curves are about.

Curves are named by their place in the run's list, as in `timetrial.analysis`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from timetrial.analysis import Analysis, Comparison, SpeedUp, TimeTable
from timetrial.record import Curve, Series
from timetrial.report.labels import (
    CHOSEN_HERE,
    ONLY_COVERAGE,
    curve_label,
    percent,
    points,
    rule_label,
    seconds_label,
    series_label,
    split_label,
    timed_rule_label,
)
from timetrial.report.table import Cell, Table, pivot

ABOUT_INTERVALS = "In brackets: 95 % interval over problems and timing repeats together."
NOT_REACHED = "not reached"
LEVELS_LEFT_OUT = "Of the levels that all reach with one sample only the highest is shown."
SPEED_UP_NOTE = (
    "How many times sooner the first reaches the level than the second, at equal quality. Not reached: by at least one "
    "of the two at any measured number of samples; nothing is extrapolated. An open end lies beyond what was measured. "
    "*: in some replicates one of the two does not reach the level."
)


def budget_tables(analysis: Analysis, curves: Sequence[Curve]) -> Iterator[Table]:
    """Make one table per timed comparison of a rule: the best each curve offers within each budget."""
    for comparison in _timed_rules(analysis):
        names = _names(comparison, curves)
        yield pivot(
            f"{_about(comparison, curves)} within T seconds",
            ("model",),
            (
                Cell(
                    (names[entry.curve],),
                    seconds_label(entry.budget_s),
                    "-" if entry.k is None else f"{_share(entry.value, entry.low, entry.high)}, k = {entry.k}",
                )
                for entry in comparison.budget_values
            ),
            f"Percent of problems with the best k that fits; - where not even one sample does. {ABOUT_INTERVALS}",
        )


def reach_tables(analysis: Analysis, curves: Sequence[Curve]) -> Iterator[Table]:
    """Make one table per timed comparison of a rule: when each curve reaches each level that any of them reaches."""
    for comparison in _timed_rules(analysis):
        names, levels = _names(comparison, curves), telling_levels(comparison, curves)
        reached = {entry.level for entry in comparison.times_to_reach if entry.seconds is not None}
        if reached:
            yield pivot(
                f"{_about(comparison, curves)}: time to reach a level",
                ("model",),
                (
                    Cell(
                        (names[entry.curve],),
                        f"{100 * entry.level:g} %",
                        NOT_REACHED
                        if entry.seconds is None
                        else f"{seconds_label(entry.seconds)} ({_ends(entry.low, entry.high, seconds_label)})",
                    )
                    for entry in comparison.times_to_reach
                    if entry.level in reached and entry.level in levels
                ),
                "Seconds per problem. Not reached: at no measured number of samples; nothing is extrapolated. "
                f"{LEVELS_LEFT_OUT} "
                f"{ABOUT_INTERVALS} An open end lies beyond what was measured.",
            )


def speed_up_tables(analysis: Analysis, curves: Sequence[Curve]) -> Iterator[Table]:
    """Make one table per timed comparison of a rule: who reaches a level how many times sooner than whom."""
    for comparison in _timed_rules(analysis):
        names, levels = _names(comparison, curves), telling_levels(comparison, curves)
        if comparison.speed_ups:
            yield pivot(
                f"{_about(comparison, curves)}: speed-up at equal quality",
                ("faster", "slower"),
                (
                    Cell(
                        (names[entry.curve], names[entry.baseline]),
                        f"{100 * entry.level:g} %",
                        _speed_up(entry),
                    )
                    for entry in faster_first(comparison.speed_ups)
                    if entry.level in levels
                ),
                f"{SPEED_UP_NOTE} {LEVELS_LEFT_OUT} {ABOUT_INTERVALS}",
            )


def difference_tables(comparisons: Sequence[Comparison], curves: Sequence[Curve]) -> Iterator[Table]:
    """Make one table per comparison of a rule: paired differences between curves at equal k.

    `curves` is the list that the comparisons' indices point into.
    """
    for comparison in comparisons:
        names = _names(comparison, curves)
        if comparison.differences:
            yield pivot(
                f"{comparison.task}: {rule_label(curves[comparison.curves[0]])}: paired differences at equal k",
                ("first", "minus second"),
                (
                    Cell(
                        (names[entry.curve], names[entry.baseline]),
                        f"k = {k}",
                        f"{points(difference)} ({points(low)} to {points(high)})",
                    )
                    for entry in comparison.differences
                    for k, difference, low, high in zip(entry.ks, entry.differences, entry.low, entry.high, strict=True)
                ),
                f"Percentage points on the {comparison.num_problems} problems in common, each problem compared with "
                "itself. In brackets: 95 % interval; where it holds 0 the order may be noise.",
            )


def front_tables(analysis: Analysis, curves: Sequence[Curve]) -> Iterator[Table]:
    """Make two tables per timed task: the front over all rules that choose, and which series owns how much of it."""
    for comparison in _timed_all_rules(analysis):
        front = sorted((point for point in comparison.front if not point.is_dominated), key=lambda point: point.seconds)
        about = f"{comparison.task}: the Pareto front"
        note = ONLY_COVERAGE if comparison.rule == "coverage" else CHOSEN_HERE
        yield Table(
            title=about,
            columns=("model", "rule", "k", "solved, %", "takes", "on the front in"),
            rows=tuple(
                (
                    series_label(curves[point.curve].series),
                    timed_rule_label(curves[point.curve]),
                    str(point.k),
                    percent(point.value),
                    seconds_label(point.seconds),
                    f"{100 * point.front_probability:.0f} %",
                )
                for point in front
            ),
            num_text_columns=2,
            note=f"{len(front)} of {len(comparison.front)} measured configurations: no other solves as much in less "
            f"time. Values are over the {comparison.num_problems} problems that all models have in common. Last "
            f"column: share of the bootstrap replicates in which the configuration is on the front. {note}",
        )
        if comparison.front_shares:
            yield _owners_table(comparison, f"{about}, by owner")


def time_tables(tables: Sequence[TimeTable]) -> Iterator[Table]:
    """Make the table of T*(k), the seconds of k samples, with the split where one batch does not do."""
    if tables:
        yield pivot(
            "Decode seconds of k samples of one problem",
            ("model",),
            (
                Cell((table.model,), f"k = {k}", f"{split_label(seconds, split)}")
                for table in tables
                for k, seconds, split in zip(table.ks, table.seconds, table.splits, strict=True)
            ),
            "The cheapest sequence of batches that holds k samples; in brackets where that is more than one.",
        )


def pool_tables(analysis: Analysis) -> Iterator[Table]:
    """Make the tables of what went into the curves, and of the rules that could not be computed."""
    if analysis.pools:
        yield Table(
            title="What the curves are about",
            columns=(
                "model",
                "task",
                "problems",
                "left out",
                "samples each",
                "abstain",
                "unknown",
                "split classes",
            ),
            rows=tuple(
                (
                    series_label(Series(pool.model, pool.task, pool.temperature)),
                    pool.task,
                    str(pool.num_problems),
                    str(pool.num_left_out),
                    str(pool.num_samples),
                    *map(_count, (pool.num_abstaining, pool.num_unknown, pool.num_split_classes)),
                )
                for pool in analysis.pools
            ),
            num_text_columns=2,
            note="Left out: problems with fewer samples than the rest. Split classes: answers taken for equal but "
            "judged differently, a sign of trouble in the grader.",
        )
    if analysis.skipped:
        yield Table(
            title="Rules not computed",
            columns=("model", "task", "rule", "reason"),
            rows=tuple(
                (
                    series_label(Series(skipped.model, skipped.task, skipped.temperature)),
                    skipped.task,
                    skipped.rule or "every rule",
                    skipped.reason,
                )
                for skipped in analysis.skipped
            ),
            num_text_columns=4,
        )


def telling_levels(comparison: Comparison, curves: Sequence[Curve]) -> set[float]:
    """Return the levels of a comparison less those that all its curves reach with one sample, the highest kept."""
    levels = sorted({entry.level for entry in comparison.times_to_reach})
    least = min(curves[index].values[0] for index in comparison.curves)
    return set(levels[max(sum(level <= least for level in levels) - 1, 0) :])


def faster_first(speed_ups: Sequence[SpeedUp]) -> tuple[SpeedUp, ...]:
    """Turn each pair of curves round if the second is the faster at most levels, inverting ratio and interval."""
    slower = Counter(
        (entry.curve, entry.baseline) for entry in speed_ups if entry.ratio is not None and entry.ratio < 1
    )
    faster = Counter(
        (entry.curve, entry.baseline) for entry in speed_ups if entry.ratio is not None and entry.ratio >= 1
    )
    return tuple(
        _reversed(entry) if slower[pair] > faster[pair] else entry
        for entry in speed_ups
        for pair in [(entry.curve, entry.baseline)]
    )


def _reversed(entry: SpeedUp) -> SpeedUp:
    ratio, low, high = (None if each is None else 1 / each for each in (entry.ratio, entry.high, entry.low))
    return replace(entry, curve=entry.baseline, baseline=entry.curve, ratio=ratio, low=low, high=high)


def _names(comparison: Comparison, curves: Sequence[Curve]) -> dict[int, str]:
    """Call each curve by its series, and by its rule too where the comparison has several curves of one series."""
    count = Counter(curves[index].series for index in comparison.curves)
    return {
        index: series_label(curves[index].series) if count[curves[index].series] == 1 else curve_label(curves[index])
        for index in comparison.curves
    }


def _timed_rules(analysis: Analysis) -> Iterator[Comparison]:
    return (each for each in analysis.comparisons if each.rule is not None and each.time_range_s is not None)


def _timed_all_rules(analysis: Analysis) -> Iterator[Comparison]:
    """Yield, for each timed task, the comparison of all rules that choose; that of coverage if there are none."""
    timed = [each for each in analysis.comparisons if each.time_range_s is not None]
    for task in dict.fromkeys(each.task for each in timed):
        of_task = {each.rule: each for each in timed if each.task == task}
        chosen = of_task.get(None) or of_task.get("coverage")
        if chosen:
            yield chosen


def _owners_table(comparison: Comparison, title: str) -> Table:
    return Table(
        title=title,
        columns=("model", "share of the front", "95 % interval", "dominated"),
        rows=tuple(
            (
                series_label(Series(share.model, comparison.task, share.temperature)),
                f"{percent(share.share)} %",
                f"{percent(share.low)} to {percent(share.high)}",
                f"{percent(share.dominated_share)} %",
            )
            for share in comparison.front_shares
        ),
        note="Share of the measured range of log time at which the model is the best. Dominated: share of its "
        "configurations that another beats.",
    )


def _about(comparison: Comparison, curves: Sequence[Curve]) -> str:
    rule = "all rules" if comparison.rule is None else timed_rule_label(curves[comparison.curves[0]])
    return f"{comparison.task}: {rule}"


def _share(value: float, low: float, high: float) -> str:
    return f"{percent(value)} ({percent(low)} to {percent(high)})"


def _ends(low: float | None, high: float | None, label: Callable[[float], str]) -> str:
    return f"{'open' if low is None else label(low)} to {'open' if high is None else label(high)}"


def _speed_up(entry: SpeedUp) -> str:
    mark = "*" if entry.censored_share > 0 else ""
    if entry.ratio is None:
        return NOT_REACHED
    return f"x{entry.ratio:.3g} ({_ends(entry.low, entry.high, lambda end: f'{end:.3g}')}){mark}"


def _count(count: int | None) -> str:
    return "-" if count is None else str(count)
