"""What a set of timed curves says about seconds: budgets, levels, speed-ups, areas and the Pareto front.

K values of k, B replicates, n points (all curves' ks together).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timetrial.analysis import BudgetValue, CurveArea, FrontShare, ParetoPoint, SpeedUp, TimeToReach
from timetrial.record import Curve
from timetrial.statistics.bootstrap import percentile_interval
from timetrial.statistics.equal_quality import censored_interval, speed_up, time_to_reach_s
from timetrial.statistics.pareto import area, front_shares, is_dominated, value_within
from timetrial.statistics.table import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedCurve:
    """A curve on the problems of a comparison, with its replicates."""

    index: int
    """Its place in the list of all curves."""
    curve: Curve
    values: FloatArray
    """(K,)"""
    value_replicates: FloatArray
    """(B, K)"""
    seconds: FloatArray
    """(K,)"""
    second_replicates: FloatArray
    """(B, K)"""


def budget_values(curves: Sequence[TimedCurve], budgets_s: Sequence[float]) -> tuple[BudgetValue, ...]:
    """Return the best each curve offers within each budget."""
    return tuple(_budget_value(curve, budget_s) for curve in curves for budget_s in budgets_s)


def _budget_value(timed: TimedCurve, budget_s: float) -> BudgetValue:
    affordable = np.where(timed.seconds <= budget_s, timed.values, -1)
    best = int(affordable.argmax())
    low, high = percentile_interval(value_within(timed.second_replicates, timed.value_replicates, budget_s))
    return BudgetValue(
        curve=timed.index,
        budget_s=budget_s,
        k=timed.curve.ks[best] if affordable[best] >= 0 else None,
        value=float(max(affordable[best], 0)),
        low=float(low),
        high=float(high),
    )


def times_to_reach(curves: Sequence[TimedCurve], levels: Sequence[float]) -> tuple[TimeToReach, ...]:
    """Return the least seconds at which each curve reaches each level."""
    return tuple(_time_to_reach(curve, level) for curve in curves for level in levels)


def _time_to_reach(timed: TimedCurve, level: float) -> TimeToReach:
    seconds = float(time_to_reach_s(timed.seconds, timed.values, level))
    interval = censored_interval(time_to_reach_s(timed.second_replicates, timed.value_replicates, level))
    return TimeToReach(
        curve=timed.index,
        level=level,
        seconds=seconds if math.isfinite(seconds) else None,
        low=interval.low,
        high=interval.high,
        censored_share=interval.censored_share,
    )


def speed_ups(curves: Sequence[TimedCurve], levels: Sequence[float]) -> tuple[SpeedUp, ...]:
    """Return the speed-up of every pair of curves, once, at every level that at least one of them reaches."""
    return tuple(
        _speed_up(curve, baseline, level)
        for curve, baseline in itertools.combinations(curves, 2)
        for level in levels
        if level <= max(curve.values.max(), baseline.values.max())
    )


def _speed_up(timed: TimedCurve, baseline: TimedCurve, level: float) -> SpeedUp:
    ratio = float(
        speed_up(
            time_to_reach_s(timed.seconds, timed.values, level),
            time_to_reach_s(baseline.seconds, baseline.values, level),
        )
    )
    interval = censored_interval(
        speed_up(
            time_to_reach_s(timed.second_replicates, timed.value_replicates, level),
            time_to_reach_s(baseline.second_replicates, baseline.value_replicates, level),
        )
    )
    return SpeedUp(
        curve=timed.index,
        baseline=baseline.index,
        level=level,
        ratio=ratio if 0 < ratio < math.inf else None,
        low=interval.low,
        high=interval.high,
        censored_share=interval.censored_share,
    )


def areas(curves: Sequence[TimedCurve], time_range_s: tuple[float, float]) -> tuple[CurveArea, ...]:
    """Return the area under each curve's best value so far; nothing if the range is a single time."""
    start_s, end_s = time_range_s
    return tuple(_area(curve, start_s, end_s) for curve in curves if start_s < end_s)


def _area(timed: TimedCurve, start_s: float, end_s: float) -> CurveArea:
    low, high = percentile_interval(area(timed.second_replicates, timed.value_replicates, start_s, end_s))
    return CurveArea(
        curve=timed.index,
        area=float(area(timed.seconds, timed.values, start_s, end_s)),
        low=float(low),
        high=float(high),
    )


def pareto_front(
    curves: Sequence[TimedCurve], time_range_s: tuple[float, float]
) -> tuple[tuple[ParetoPoint, ...], tuple[FrontShare, ...]]:
    """Return every configuration with its standing, and what share of the front each series owns.

    The shares are left out if the range is a single time.
    """
    if not curves:
        return (), ()
    seconds = np.concatenate([timed.seconds for timed in curves])
    values = np.concatenate([timed.values for timed in curves])
    second_replicates = np.concatenate([timed.second_replicates for timed in curves], axis=1)
    value_replicates = np.concatenate([timed.value_replicates for timed in curves], axis=1)
    dominated = is_dominated(seconds, values)
    on_front = 1 - is_dominated(second_replicates, value_replicates).mean(axis=0)
    labels = [(timed, k) for timed in curves for k in timed.curve.ks]
    points = tuple(
        ParetoPoint(
            curve=timed.index,
            k=k,
            seconds=float(seconds[place]),
            value=float(values[place]),
            is_dominated=bool(dominated[place]),
            front_probability=float(on_front[place]),
        )
        for place, (timed, k) in enumerate(labels)
    )
    start_s, end_s = time_range_s
    if start_s == end_s:
        return points, ()
    series = list(dict.fromkeys(timed.curve.series for timed in curves))
    owners = np.array([series.index(timed.curve.series) for timed, _ in labels])
    shares = front_shares(seconds, values, owners, start_s, end_s)
    low, high = percentile_interval(front_shares(second_replicates, value_replicates, owners, start_s, end_s))
    return points, tuple(
        FrontShare(
            model=owner.model,
            temperature=owner.temperature,
            dominated_share=float(dominated[owners == number].mean()),
            share=float(shares[number]),
            low=float(low[number]),
            high=float(high[number]),
        )
        for number, owner in enumerate(series)
    )
