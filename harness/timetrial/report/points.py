"""A curve's points as configurations one could run: a model, a temperature, a number of samples and a rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from timetrial.record import Curve
from timetrial.statistics.pareto import is_dominated


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One configuration, what it solves, and the seconds it was measured to take."""

    curve: Curve
    position: int
    """Which of the curve's ks."""
    seconds: float

    @property
    def k(self) -> int:
        """Samples per problem."""
        return self.curve.ks[self.position]

    @property
    def seconds_low(self) -> float:
        """Lower end of the time's 95 % interval; the time itself if it has none."""
        low = self.curve.seconds_low[self.position] if self.curve.seconds_low else None
        return self.seconds if low is None else low

    @property
    def seconds_high(self) -> float:
        """Upper end of the time's 95 % interval; the time itself if it has none."""
        high = self.curve.seconds_high[self.position] if self.curve.seconds_high else None
        return self.seconds if high is None else high

    @property
    def value(self) -> float:
        """Share of problems solved."""
        return self.curve.values[self.position]

    @property
    def low(self) -> float:
        """Lower end of the value's 95 % interval."""
        return self.curve.low[self.position]

    @property
    def high(self) -> float:
        """Upper end of the value's 95 % interval."""
        return self.curve.high[self.position]


def timed_points(curves: Iterable[Curve]) -> tuple[Point, ...]:
    """Return every point whose seconds are known; what was not measured is left out, never extrapolated."""
    return tuple(
        Point(curve=curve, position=position, seconds=seconds)
        for curve in curves
        for position, seconds in enumerate(curve.seconds or ())
        if seconds is not None
    )


def merit(point: Point) -> tuple[float, float]:
    """Return what orders points: more problems solved first, then less time."""
    return point.value, -point.seconds


def best_within(points: Iterable[Point], budget_s: float) -> tuple[Point, ...]:
    """Return each curve's best point that takes at most `budget_s`, best first.

    Of equal values the quicker one is better; of equal times too, the one that comes first in `points`.
    """
    best: dict[int, Point] = {}
    for point in points:
        held = best.get(id(point.curve))
        if point.seconds <= budget_s and (held is None or merit(point) > merit(held)):
            best[id(point.curve)] = point
    return tuple(sorted(best.values(), key=merit, reverse=True))


def pareto_front(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats: none takes as little time or less and solves as much or more.

    They come by rising time, and so by rising value; of points equal in both the first stands for all.
    """
    points = sorted(points, key=lambda point: point.seconds)
    dominated = is_dominated(np.array([point.seconds for point in points]), np.array([point.value for point in points]))
    front: list[Point] = []
    for point, is_beaten in zip(points, dominated, strict=True):
        if not is_beaten and (not front or point.value > front[-1].value):
            front.append(point)
    return tuple(front)
