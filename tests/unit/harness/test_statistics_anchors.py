"""Published counts, and what every estimator must make of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from timetrial.statistics.bootstrap import problem_standard_error
from timetrial.statistics.coverage import pass_at_k_from_counts

COUNTS = Path(__file__).parents[4] / "shared" / "data" / "llama32_1b_math500_counts.json"

# Right completions of 256 for ten problems, and their mean pass@k worked out with integer binomials.
TEN_PROBLEMS = [222, 159, 138, 14, 3, 4, 21, 215, 167, 144]
TEN_PROBLEM_MEANS = {
    1: 0.424609375,
    2: 0.5611764705882353,
    4: 0.6487612939537958,
    8: 0.7074865062809513,
    16: 0.7766760985566865,
    32: 0.8547245069530416,
    64: 0.9248341686241053,
    128: 0.9815396144971542,
    256: 1.0,
}

# Llama-3.2-1B-Instruct on MATH-500, 256 samples at temperature 0.8, pass@k in percent.
PASS_AT_K = {
    0: [24.36, 35.21, 46.29, 56.69, 66.02, 74.23, 81.27, 86.77, 90.40],
    1: [23.86, 34.74, 45.93, 56.44, 65.87, 74.05, 80.80, 85.86, 89.40],
    2: [23.68, 34.58, 45.83, 56.44, 66.04, 74.34, 81.12, 86.08, 89.40],
    3: [23.84, 34.76, 46.10, 56.86, 66.51, 74.73, 81.38, 86.38, 90.00],
    4: [23.57, 34.44, 45.70, 56.34, 65.85, 73.99, 80.87, 86.29, 89.80],
}
POOLED = [23.86, 34.74, 45.97, 56.55, 66.04, 74.24, 81.02, 86.13, 89.61, 91.89, 93.40]
PROBLEM_ERRORS = [1.24, 1.54, 1.71, 1.76, 1.71, 1.59, 1.46, 1.35, 1.32]
POOLED_ERRORS = [1.21, 1.52, 1.69, 1.74, 1.69, 1.58, 1.45, 1.32, 1.21]

needs_counts = pytest.mark.skipif(not COUNTS.is_file(), reason="the published counts file is not beside the checkout")


@pytest.fixture(scope="module")
def counts():
    return np.array(json.loads(COUNTS.read_text())["counts"])


def powers(number):
    return [2**power for power in range(number)]


def test_pass_at_k_of_ten_real_problems_agrees_with_integer_binomials():
    values = pass_at_k_from_counts([256] * 10, TEN_PROBLEMS, list(TEN_PROBLEM_MEANS))
    np.testing.assert_allclose(values.mean(axis=0), list(TEN_PROBLEM_MEANS.values()), rtol=0, atol=1e-14)


@needs_counts
@pytest.mark.parametrize("seed", PASS_AT_K)
def test_pass_at_k_of_the_public_llama_samples_agrees_with_the_published_table(counts, seed):
    values = pass_at_k_from_counts([256] * 500, counts[:, seed], powers(9))
    np.testing.assert_allclose(100 * values.mean(axis=0), PASS_AT_K[seed], rtol=0, atol=0.01)


@needs_counts
def test_pooled_pass_at_k_and_errors_agree_with_the_published_table(counts):
    pooled = pass_at_k_from_counts([1280] * 500, counts.sum(axis=1), powers(11))
    np.testing.assert_allclose(100 * pooled.mean(axis=0), POOLED, rtol=0, atol=0.01)
    np.testing.assert_allclose(100 * problem_standard_error(pooled)[:9], POOLED_ERRORS, rtol=0, atol=0.01)
    single = pass_at_k_from_counts([256] * 500, counts[:, 0], powers(9))
    np.testing.assert_allclose(100 * problem_standard_error(single), PROBLEM_ERRORS, rtol=0, atol=0.01)
