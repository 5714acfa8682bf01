"""Seconds of random subsets: the closed forms against all subsets, and against the grid at equal lengths."""

import itertools

import numpy as np
import pytest

from timetrial.statistics.budget import best_split_s
from timetrial.statistics.step_seconds import StepSeconds
from timetrial.statistics.subset_seconds import MODES, cheapest_waves, expected_seconds, seconds_of

STEPS = StepSeconds(batches=(1, 2, 4, 8), fixed_s=(1.0, 1.3, 1.4, 4.0), per_token_s=(0.01, 0.02, 0.09, 0.1))
PROMPTS = np.array([5, 0, 17])
LENGTHS = np.array([[3, 9, 9, 1, 14, 2, 0], [1, 1, 1, 1, 1, 1, 1], [40, 2, 30, 30, 7, 1, 5]])


def step_s(running, context):
    fixed, per_token = STEPS.at([running])
    return float(fixed[0] + per_token[0] * context)


def plain_seconds(mode, prompt, lengths):
    """Walk through the steps of one batch, one at a time."""
    seconds = 0.0
    for t in range(1, max(lengths) + 1):
        running = len(lengths) if mode == "static" else sum(length >= t for length in lengths)
        seconds += step_s(running, prompt + t)
    return seconds


@pytest.mark.parametrize("mode", MODES)
def test_expectations_equal_the_mean_over_all_subsets(mode):
    ks = range(1, 8)
    expected = [
        [np.mean([plain_seconds(mode, p, subset) for subset in itertools.combinations(row, k)]) for k in ks]
        for p, row in zip(PROMPTS.tolist(), LENGTHS.tolist(), strict=True)
    ]
    np.testing.assert_allclose(expected_seconds(STEPS, mode, PROMPTS, LENGTHS, ks), expected, rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_seconds_of_one_batch_equal_the_walk_through_its_steps(mode):
    for prompt, row in zip(PROMPTS.tolist(), LENGTHS.tolist(), strict=True):
        assert seconds_of(STEPS, mode, prompt, row) == pytest.approx(plain_seconds(mode, prompt, row), rel=1e-12)


def test_equal_lengths_cost_what_the_timing_grid_measured_in_both_modes():
    prompt, new, ks = 20, 12, (1, 2, 4, 8)
    measured = np.array([sum(step_s(k, prompt + t) for t in range(1, new + 1)) for k in ks])
    lengths = np.full((1, 16), new)
    for mode in MODES:
        batches = expected_seconds(STEPS, mode, np.array([prompt]), lengths, ks)[0]
        np.testing.assert_allclose(batches, measured, rtol=1e-12)
        waves = cheapest_waves(batches, ks, (1, 2, 4, 8, 16))
        seconds = [sum(batches[ks.index(size)] for size in split) for split in waves]
        np.testing.assert_allclose(seconds, best_split_s(ks, measured, (1, 2, 4, 8, 16)), rtol=1e-12)


def test_a_compact_batch_never_takes_longer_than_a_static_one():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 400, size=(20, 32))
    steps = StepSeconds(batches=(1, 32), fixed_s=(1.0, 3.0), per_token_s=(0.001, 0.01))
    prompts = rng.integers(1, 90, size=20)
    static, compact = (expected_seconds(steps, mode, prompts, lengths, range(1, 33)) for mode in MODES)
    assert (compact <= static * (1 + 1e-12)).all()
    np.testing.assert_allclose(compact[:, 0], static[:, 0], rtol=1e-12)


def test_large_pools_neither_overflow_nor_lose_digits():
    lengths = np.arange(1, 1025)[None, :]
    flat = StepSeconds(batches=(1, 1024), fixed_s=(2.0, 2.0), per_token_s=(0.0, 0.0))
    ks = (1, 7, 512, 1023, 1024)
    longest = np.array([k * 1025 / (k + 1) for k in ks])  # of k numbers drawn from 1 to 1024
    for mode in MODES:
        expected = expected_seconds(flat, mode, np.array([10]), lengths, ks)[0]
        np.testing.assert_allclose(expected, 2 * longest, rtol=1e-10)


def test_a_subset_that_does_not_exist_or_does_not_fit_is_refused():
    for mode in MODES:
        with pytest.raises(ValueError, match="1 <= k <= 7"):
            expected_seconds(STEPS, mode, PROMPTS, LENGTHS, [8])
        with pytest.raises(ValueError, match="of 1 to 8"):
            expected_seconds(STEPS, mode, PROMPTS, np.ones((3, 9), dtype=int), [9])


def test_more_samples_than_the_largest_batch_are_split_as_the_paper_does():
    assert cheapest_waves(np.array([9.4, 29.4]), (1, 256), (1, 256, 512)) == ((1,), (256,), (256, 256))
    assert cheapest_waves(np.array([1.0, 5.0]), (1, 2), (3,)) == ((1, 1, 1),), "two of one are quicker than one of two"
