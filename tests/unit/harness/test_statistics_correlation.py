"""Correlations of figures of checkpoints, against values worked out elsewhere, and their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.statistics.correlation import correlate

X = np.array([0.1, 0.4, 0.35, 0.8, 0.6, 0.9])
Y = np.array([0.2, 0.1, 0.5, 0.4, 0.9, 0.7])
numbers = st.lists(st.integers(0, 5), min_size=5, max_size=9)


def ranks(values):
    """Ranks from 1, ties sharing the mean: the definition, one by one."""
    return [1 + sum(other < value for other in values) + (list(values).count(value) - 1) / 2 for value in values]


def test_pearson_is_numpys():
    assert correlate(X, Y).pearson.value == pytest.approx(np.corrcoef(X, Y)[0, 1])


@given(x=numbers, seed=st.integers(0, 99))
def test_spearman_is_pearsons_coefficient_of_the_ranks(x, seed):
    y = np.random.default_rng(seed).integers(0, 4, len(x))
    found = correlate(np.array(x, float), y.astype(float), replicates=20).spearman.value
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(ranks(x), ranks(y))[0, 1])


def test_what_grows_together_is_one_and_has_no_width():
    found = correlate(X, X**3)
    assert found.spearman.value == pytest.approx(1) and found.spearman.low == pytest.approx(1)
    assert 0.8 < found.pearson.value < 1


def test_an_interval_holds_the_coefficient_and_is_reproducible():
    found = correlate(X, Y).pearson
    assert -1 <= found.low < found.value < found.high <= 1
    assert correlate(X, Y).pearson == found


@pytest.mark.parametrize(("count", "has_value", "has_interval"), [(2, False, False), (4, True, False), (5, True, True)])
def test_few_points_have_no_interval_and_two_no_coefficient(count, has_value, has_interval):
    for estimate in correlate(X[:count], Y[:count]):
        assert (estimate.value is not None) == has_value
        assert (estimate.low is not None) == (estimate.high is not None) == has_interval


def test_a_constant_has_no_coefficient():
    assert correlate(X, np.full(6, 0.3)).pearson == (None, None, None)


def test_resamples_without_variation_are_left_out():
    one_differs = np.array([0.0, 0, 0, 0, 1])
    found = correlate(one_differs, one_differs).pearson
    assert found.low == pytest.approx(1) == found.high


def test_figures_of_different_checkpoints_are_refused():
    with pytest.raises(ValueError, match="not of the same points"):
        correlate(X, Y[:3])
