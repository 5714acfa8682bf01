import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial_distillation.data.order import Permutation


@settings(deadline=None)
@given(size=st.integers(1, 9000), seed=st.integers(-(2**70), 2**70))
def test_every_place_has_one_item_and_every_item_one_place(size, seed):
    assert sorted(Permutation(size, seed).at(0, size)) == list(range(size))


@settings(deadline=None)
@given(size=st.integers(1, 2**40), data=st.data())
def test_any_stretch_is_that_of_the_whole(size, data):
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start, min(size, start + 50)))
    permutation = Permutation(size, "key")
    alone = [permutation.at(place, place + 1).item() for place in range(start, stop)]
    assert permutation.at(start, stop).tolist() == alone
    assert all(0 <= item < size for item in alone)


def test_orders_stay_the_same_for_good():
    """If this fails, runs that were begun before can no longer be resumed."""
    assert Permutation(10, "documents", 0, 0).at(0, 10).tolist() == [1, 0, 3, 7, 9, 8, 2, 4, 5, 6]
    assert Permutation(14_000_000, "documents", 7, 1).at(9_000_000, 9_000_003).tolist() == [13825959, 1359260, 5230646]


@pytest.mark.parametrize("size", [4, 5, 7, 30, 100])
def test_items_go_everywhere_equally_often(size):
    """Chi-squared over (item, place), with (size - 1)**2 degrees of freedom: within five standard deviations."""
    num_seeds = 2000
    counts = np.zeros((size, size))
    for seed in range(num_seeds):
        counts[np.arange(size), Permutation(size, seed).at(0, size)] += 1
    expected, freedom = num_seeds / size, (size - 1) ** 2
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_squared - freedom) < 5 * np.sqrt(2 * freedom)


def test_neighbours_do_not_stay_neighbours():
    order = Permutation(10_000, 3).at(0, 10_000)
    assert (np.abs(np.diff(order)) == 1).sum() < 15  # 2 are expected
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.05
