import numpy as np
import pytest

from timetrial.statistics.equal_quality import censored_interval, speed_up, time_to_reach_s
from timetrial.statistics.pareto import area, front_shares, is_dominated, value_within


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    return rng.uniform(1, 100, size=(20, 12)), rng.random((20, 12))


def with_point(array, value):
    return np.concatenate([array, np.broadcast_to(value, (*array.shape[:-1], 1))], axis=-1)


def test_domination_needs_one_strict_advantage():
    seconds, values = np.array([1.0, 2, 2, 3, 1]), np.array([0.5, 0.5, 0.6, 0.6, 0.5])
    assert is_dominated(seconds, values).tolist() == [False, True, False, True, False]


def test_rounding_decides_neither_domination_nor_the_front():
    seconds, values = np.array([1.0, 1.0, 2.0]), np.array([0.3, 0.1 + 0.2, 0.3 + 1e-15])
    assert is_dominated(seconds, values).tolist() == [False, False, True]
    owners = np.array([0, 0, 1])
    np.testing.assert_allclose(front_shares(seconds, values, owners, 1, 4), [1, 0])


def test_a_dominated_point_changes_neither_front_nor_area(points):
    seconds, values = points
    more_s, more = with_point(seconds, 150.0), with_point(values, 0.0)
    dominated = is_dominated(more_s, more)
    assert dominated[:, -1].all()
    np.testing.assert_array_equal(dominated[:, :-1], is_dominated(seconds, values))
    np.testing.assert_allclose(area(more_s, more, 1, 100), area(seconds, values, 1, 100), atol=1e-12)
    owners = np.arange(12) % 3
    shares = front_shares(seconds, values, owners, 1, 100)
    np.testing.assert_allclose(front_shares(more_s, more, np.append(owners, 0), 1, 100), shares, atol=1e-12)


def test_area_is_the_mean_over_log_time_of_the_best_so_far(points):
    grid = np.exp(np.linspace(np.log(2), np.log(50), 5_001))
    best = np.stack([value_within(*points, budget) for budget in grid])
    np.testing.assert_allclose(area(*points, 2, 50), best.mean(axis=0), atol=1e-3)


def test_area_of_one_point_is_its_value_over_its_share_of_the_range():
    assert area(np.array([10.0]), np.array([0.8]), 1, 100) == pytest.approx(0.4)
    assert area(np.array([0.5]), np.array([0.8]), 1, 100) == pytest.approx(0.8)


def test_front_shares_split_the_time_since_the_first_point(points):
    seconds, values = points
    shares = front_shares(seconds, values, np.arange(12), 1, 100)
    first = np.log(seconds.min(axis=-1)) / np.log(100)
    np.testing.assert_allclose(shares.sum(axis=-1), 1 - first, atol=1e-12)
    assert (shares[is_dominated(seconds, values)] == 0).all()


def test_the_front_belongs_to_whoever_holds_the_best_value_so_far():
    seconds, values = np.array([1.0, 10, 100]), np.array([0.2, 0.5, 0.4])
    np.testing.assert_allclose(front_shares(seconds, values, np.array([0, 1, 0]), 1, 1000), [1 / 3, 2 / 3])


def test_a_budget_below_every_point_buys_nothing():
    seconds, values = np.array([2.0, 4]), np.array([0.3, 0.2])
    assert [float(value_within(seconds, values, budget)) for budget in (1, 2, 9)] == [0, 0.3, 0.3]


def test_time_to_reach_rises_with_the_level_and_is_censored_beyond_the_best(points):
    levels = np.linspace(0, 1, 30)
    times = np.stack([time_to_reach_s(*points, level) for level in levels])
    assert (np.diff(np.where(np.isinf(times), 1e9, times), axis=0) >= 0).all()
    for time, level in zip(times, levels, strict=True):
        np.testing.assert_array_equal(np.isinf(time), level > points[1].max(axis=-1))


def test_speed_up_is_the_ratio_of_times_and_undefined_if_neither_gets_there():
    reached = np.array([2.0, np.inf, 2.0, np.inf])
    baseline = np.array([6.0, 6.0, np.inf, np.inf])
    np.testing.assert_array_equal(speed_up(reached, baseline), [3, 0, np.inf, np.nan])


def test_an_interval_is_open_where_it_leaves_the_measured_range():
    measured = np.linspace(1, 2, 90)
    mixed = np.concatenate([measured, np.full(10, np.inf)])
    assert censored_interval(measured).censored_share == 0
    low, high, share = censored_interval(mixed)
    assert low == pytest.approx(1.0, abs=0.05) and high is None and share == pytest.approx(0.1)
    low, high, share = censored_interval(np.concatenate([measured, np.zeros(10)]))
    assert low is None and high == pytest.approx(2.0, abs=0.05) and share == pytest.approx(0.1)
    assert censored_interval(np.full(5, np.nan)) == (None, None, 1.0)
    assert censored_interval(np.append(np.full(3, 2.0), np.nan)) == (2.0, 2.0, 0.25)
