import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial_distillation.rewards.quality import (
    Judged,
    auc,
    best_first_errors,
    first_errors,
    measure_quality,
    reliability,
    within_problem_auc,
)

TENTHS = st.integers(0, 10).map(lambda n: n / 10)


def by_pairs(scores, labels):
    """Compare every trial of "+" with every trial of "-"."""
    won = sum(
        t * (1 - u) * (1.0 if p > q else 0.5 if p == q else 0.0)
        for p, t in zip(scores, labels, strict=True)
        for q, u in zip(scores, labels, strict=True)
    )
    pairs = sum(labels) * sum(1 - label for label in labels)
    return won / pairs if pairs else None


@given(st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=12))
def test_the_auc_is_that_of_all_pairs_of_trials(pairs):
    scores, labels = zip(*pairs, strict=True)
    found, expected = auc(np.array(scores), np.array(labels)), by_pairs(scores, labels)
    if expected is None or found is None:
        assert sum(labels) * sum(1 - label for label in labels) == pytest.approx(0, abs=1e-12)
    else:
        assert found == pytest.approx(expected)


def test_the_auc_is_that_of_a_case_made_by_hand():
    assert auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])) == 3.5 / 4


def test_bins_hold_all_steps_and_scores_of_one_are_in_the_last():
    scores = np.array([0.0, 0.05, 0.1, 0.95, 1.0])
    bins = reliability(scores, np.array([0.0, 1.0, 1.0, 1.0, 0.0]))
    assert [each.num_steps for each in bins] == [2, 1, 2]
    assert bins[-1].mean_score == pytest.approx(0.975)
    assert bins[-1].mean_label == 0.5


def solutions(*cases):
    return [Judged(problem, scores, labels, labels[-1] == 1) for problem, scores, labels in cases]


CASES = solutions(
    ("a", (0.9, 0.8), (1.0, 1.0)),  # right, nothing below 0.5: told
    ("a", (0.9, 0.3), (1.0, 0.0)),  # wrong at 1, found
    ("b", (0.4, 0.3), (1.0, 0.0)),  # wrong at 1, step 0 taken for it
    ("b", (0.9, 0.6), (0.0, 0.0)),  # wrong at 0, not noticed
    ("b", (0.9, 0.49), (1.0, 1.0)),  # right, step 1 taken for wrong
)


def test_first_errors_are_found_as_processbench_counts_them():
    found = first_errors(CASES, 0.5)
    assert (found.wrong, found.right) == (pytest.approx(1 / 3), 0.5)
    assert found.f1 == pytest.approx(2 * (1 / 3) * 0.5 / (1 / 3 + 0.5))
    assert first_errors(CASES[:1], 0.5).wrong is None


def test_the_best_threshold_is_chosen_on_other_problems_than_it_is_tried_on():
    # Right steps score above 0.3, wrong ones below: 0.5 is a bad threshold, 0.3 a perfect one.
    made = [
        case
        for number in range(20)
        for case in solutions((str(number), (0.4, 0.4), (1.0, 1.0)), (str(number), (0.4, 0.2), (1.0, 0.0)))
    ]
    assert first_errors(made, 0.5).f1 == 0
    best = best_first_errors(made)
    assert 0.2 < best.threshold <= 0.4
    assert best.f1 == 1
    assert best_first_errors(CASES[:1]) is None


def test_last_scores_are_compared_within_problems_only():
    assert within_problem_auc(CASES) == pytest.approx((1 + 0.5) / 2)  # of b: 0.49 beats 0.3 and not 0.6
    assert within_problem_auc(CASES[:1]) is None


def test_perfect_and_constant_scores_have_the_qualities_they_should():
    perfect = measure_quality(solutions(*((str(n), (1.0, 0.0), (1.0, 0.0)) for n in range(8))))
    assert (perfect.step_auc, perfect.ece, perfect.brier) == (1.0, 0.0, 0.0)
    assert perfect.step_auc_interval == (1.0, 1.0)
    constant = measure_quality(solutions(*((str(n), (0.25,) * 4, (1.0, 0.0, 0.0, 0.0)) for n in range(8))))
    assert (constant.step_auc, constant.ece, constant.share_right) == (0.5, 0.0, 0.25)
    assert constant.brier == pytest.approx(0.25 * 0.75)


def test_shares_are_calibrated_against_and_have_no_first_error():
    soft = measure_quality(solutions(("a", (0.5, 0.25), (0.5, 0.25))))
    assert soft.ece == 0
    assert soft.first_errors is None and soft.best_first_errors is None
    assert set(soft.to_json()) >= {"step_auc", "bins", "first_errors"}
