import itertools

import numpy as np
import pytest

from timetrial.statistics.budget import MeasuredGrid, best_split, best_split_s


def brute_force_s(batches, seconds, k):
    """Try every multiset of batches, interpolated sizes included, up to the number of batches k can need."""
    sizes = range(batches[0], batches[-1] + 1)
    cost = dict(zip(sizes, np.interp(list(sizes), batches, seconds), strict=True))
    return min(
        sum(cost[size] for size in split)
        for length in range(1, k + 1)
        for split in itertools.combinations_with_replacement(sizes, length)
        if sum(split) >= k
    )


def test_a_batch_that_does_not_fit_is_split_into_the_largest_that_does():
    batches, seconds = [1, 64, 128, 256], np.array([11.0, 14.0, 19.0, 29.4])
    assert best_split_s(batches, seconds, [512])[0] == pytest.approx(2 * 29.4)
    assert best_split(batches, seconds, 512) == (256, 256)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_split_equals_the_best_of_all_multisets(seed):
    rng = np.random.default_rng(seed)
    batches = sorted(rng.choice(np.arange(1, 7), size=int(rng.integers(1, 4)), replace=False).tolist())
    seconds = rng.uniform(1, 5, size=len(batches))
    ks = list(range(1, 8))
    expected = [brute_force_s(batches, seconds, k) for k in ks]
    np.testing.assert_allclose(best_split_s(batches, seconds, ks), expected, atol=1e-12)
    for k, second in zip(ks, expected, strict=True):
        split = best_split(batches, seconds, k)
        assert sum(split) >= k and batches[0] <= min(split) <= max(split) <= batches[-1]
        assert np.interp(split, batches, seconds).sum() == pytest.approx(second)


def test_times_between_measured_sizes_are_interpolated():
    assert best_split_s([1, 2, 4], np.array([1.0, 1.2, 1.6]), [3])[0] == pytest.approx(1.4)


def test_nothing_is_extrapolated_above_the_largest_batch():
    # A line through the measured times would put 8 samples at 1.8 s; only whole batches of 4 were ever run.
    assert best_split_s([2, 4], np.array([1.2, 1.4]), [8])[0] == pytest.approx(2.8)


def test_fewer_samples_than_the_smallest_batch_cost_that_batch():
    assert best_split_s([4, 8], np.array([2.0, 3.0]), [1, 4])[0] == 2.0
    assert best_split([4, 8], np.array([2.0, 3.0]), 1) == (4,)


def test_a_larger_batch_replaces_a_slower_smaller_one():
    assert best_split_s([1, 2], np.array([3.0, 1.0]), [1])[0] == 1.0
    assert best_split([1, 2], np.array([3.0, 1.0]), 3) == (2, 2)


def test_seconds_never_fall_with_k():
    rng = np.random.default_rng(0)
    seconds = best_split_s([1, 3, 8, 20], rng.uniform(1, 9, size=(50, 4)), range(1, 70))
    assert (np.diff(seconds, axis=-1) >= -1e-12).all()


def test_replicates_are_treated_one_by_one():
    rng = np.random.default_rng(0)
    seconds = rng.uniform(1, 9, size=(5, 3))
    together = best_split_s([1, 4, 9], seconds, [1, 5, 30])
    alone = [best_split_s([1, 4, 9], row, [1, 5, 30]) for row in seconds]
    np.testing.assert_allclose(together, alone)


def test_a_replicate_takes_one_measured_repeat_of_each_batch():
    grid = MeasuredGrid(batches=(1, 2), seconds=((1.0, 2.0, 9.0), (5.0,)))
    drawn = grid.draw(300, np.random.default_rng(0))
    assert drawn.shape == (300, 2)
    assert set(drawn[:, 0]) == {1.0, 2.0, 9.0} and set(drawn[:, 1]) == {5.0}
    np.testing.assert_array_equal(grid.median_s, [2.0, 5.0])


@pytest.mark.parametrize(
    ("batches", "seconds"),
    [
        ((), ()),
        ((1, 2), ((1.0,),)),
        ((2, 1), ((1.0,), (1.0,))),
        ((1, 1), ((1.0,), (1.0,))),
        ((0,), ((1.0,),)),
        ((1,), ((),)),
        ((1,), ((0.0,),)),
        ((1,), ((float("nan"),),)),
    ],
)
def test_a_grid_that_measures_nothing_is_refused(batches, seconds):
    with pytest.raises(ValueError):
        MeasuredGrid(batches=batches, seconds=seconds)
