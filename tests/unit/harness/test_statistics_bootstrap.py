import numpy as np
import pytest

from timetrial.statistics.bootstrap import (
    bootstrap_mean,
    bootstrap_weights,
    paired_difference,
    percentile_interval,
    problem_standard_error,
)


@pytest.fixture
def values():
    return np.random.default_rng(0).random((80, 3))


def test_weights_are_counts_of_as_many_draws_as_there_are_problems():
    weights = bootstrap_weights(7, 500, seed=1)
    assert weights.shape == (500, 7)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights * 7, np.round(weights * 7), atol=1e-12)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 7, atol=0.02)
    np.testing.assert_array_equal(weights, bootstrap_weights(7, 500, seed=1))
    assert not np.array_equal(weights, bootstrap_weights(7, 500, seed=2))


def test_the_spread_of_replicates_is_the_standard_error(values):
    replicates = bootstrap_weights(80, 10_000) @ values
    np.testing.assert_allclose(replicates.std(axis=0), problem_standard_error(values), rtol=0.04)


def test_the_interval_holds_the_mean_and_most_replicates(values):
    weights = bootstrap_weights(80, 4_000)
    interval = bootstrap_mean(values, weights)
    assert ((interval.low < interval.mean) & (interval.mean < interval.high)).all()
    replicates = weights @ values
    inside = (replicates >= interval.low) & (replicates <= interval.high)
    np.testing.assert_allclose(inside.mean(axis=0), 0.95, atol=0.001)


def test_a_model_against_itself_differs_by_exactly_nothing(values):
    interval = paired_difference(values, values, bootstrap_weights(80, 100))
    for part in interval:
        np.testing.assert_array_equal(part, 0)


def test_pairing_removes_what_both_models_share(values):
    weights = bootstrap_weights(80, 2_000)
    better = values + 0.1
    interval = paired_difference(better, values, weights)
    np.testing.assert_allclose([interval.low, interval.mean, interval.high], 0.1)
    low, high = percentile_interval(weights @ better)
    assert (high - low > 0.05).all()


def test_a_single_problem_has_no_standard_error():
    assert np.isnan(problem_standard_error(np.ones((1, 2)))).all()


def test_values_of_other_problems_are_refused(values):
    with pytest.raises(ValueError, match="weights for 79 problems"):
        bootstrap_mean(values, bootstrap_weights(79, 10))
    with pytest.raises(ValueError, match="not of the same problems"):
        paired_difference(values, values[:79], bootstrap_weights(80, 10))
    with pytest.raises(ValueError, match="0 problems"):
        bootstrap_weights(0, 10)
