"""Points: ranking within a budget and the Pareto front, against definitions spelled out."""

import itertools
import random

import pytest

from timetrial.report.points import best_within, pareto_front, timed_points


def random_curves(make, seed, *, num_curves=5):
    """Curves whose values and times have many ties."""
    rng = random.Random(seed)
    return [
        make(
            f"model-{number}",
            values=tuple(rng.randrange(8) / 8 for _ in range(9)),
            seconds=tuple(rng.choice([None, 1.0, 2.0, 3.0, 5.0]) for _ in range(9)),
        )
        for number in range(num_curves)
    ]


def test_points_without_seconds_are_left_out(curve):
    seconds = (1.0, 2.0, None, *(None,) * 6)
    assert [point.k for point in timed_points([curve("a", seconds=seconds), curve("b", is_timed=False)])] == [1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_front_holds_exactly_what_nothing_beats(curve, seed):
    points = timed_points(random_curves(curve, seed))
    front = {(point.seconds, point.value) for point in pareto_front(points)}
    for point in points:
        is_beaten = any(
            other.seconds <= point.seconds
            and other.value >= point.value
            and (other.seconds < point.seconds or other.value > point.value)
            for other in points
        )
        assert ((point.seconds, point.value) in front) != is_beaten


@pytest.mark.parametrize("seed", range(20))
def test_front_rises_in_time_and_value_and_ignores_dominated_points(curve, seed):
    points = timed_points(random_curves(curve, seed))
    front = pareto_front(points)
    for earlier, later in itertools.pairwise(front):
        assert earlier.seconds < later.seconds and earlier.value < later.value
    assert pareto_front([point for point in points if point in front]) == front


@pytest.mark.parametrize("seed", range(20))
def test_best_within_a_budget_is_each_curves_best_affordable_point_best_first(curve, seed):
    curves = random_curves(curve, seed)
    ranking = best_within(timed_points(curves), 2.5)
    by_model = {point.curve.model: point for point in ranking}
    for each in curves:
        affordable = [point for point in timed_points([each]) if point.seconds <= 2.5]
        if not affordable:
            assert each.model not in by_model
            continue
        best = max(point.value for point in affordable)
        quickest = min(point.seconds for point in affordable if point.value == best)
        assert (by_model[each.model].value, by_model[each.model].seconds) == (best, quickest)
    assert [point.value for point in ranking] == sorted((point.value for point in ranking), reverse=True)


def test_nothing_is_best_within_a_budget_that_nothing_fits(curve):
    assert best_within(timed_points([curve("llama-1b")]), 0.1) == ()
