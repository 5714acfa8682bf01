"""Scores raised to a power before they are added up, from majority to Best-of-N, and what scores tell."""

import itertools
import math

import numpy as np
import pytest

from timetrial.statistics.best_of import best_of_k
from timetrial.statistics.choice import best_of_choice, majority_choice, powers, weighted_choice
from timetrial.statistics.majority import majority_at_k
from timetrial.statistics.ranking import correlation, within_problem_auc, within_problem_correlation
from timetrial.statistics.table import VoteTable
from timetrial.statistics.weighted import weighted_at_k


@pytest.fixture
def rows():
    rng = np.random.default_rng(5)
    return rng.integers(-1, 4, (200, 9)), rng.random((200, 9))


def table(seed=0, problems=5, samples=8):
    rng = np.random.default_rng(seed)
    return VoteTable(
        problems=tuple(f"p{number}" for number in range(problems)),
        classes=rng.integers(-1, 3, (problems, samples)),
        correct=np.tile([True, False, False], (problems, 1)),
        scores=rng.random((problems, samples)),
    )


def test_power_0_is_a_majority_vote_power_1_the_plain_sum_and_infinity_best_of_n(rows):
    classes, scores = rows
    np.testing.assert_array_equal(weighted_choice(classes, scores, 0), majority_choice(classes))
    np.testing.assert_array_equal(weighted_choice(classes, scores, 1), weighted_choice(classes, scores))
    for gamma in (1e4, 1e9, math.inf):
        np.testing.assert_array_equal(weighted_choice(classes, scores, gamma), best_of_choice(classes, scores))


@pytest.mark.parametrize("gamma", [0.25, 2, 7.5])
def test_a_power_elects_whom_the_powers_themselves_elect_whatever_the_scale(rows, gamma):
    classes, scores = rows
    plain = weighted_choice(classes, scores**gamma)
    np.testing.assert_array_equal(weighted_choice(classes, scores, gamma), plain)
    for scale in (1e-300, 1e-30, 1e30):  # whose powers underflow or overflow
        np.testing.assert_array_equal(weighted_choice(classes, scores * scale, gamma), plain)


def test_a_score_of_0_weighs_nothing_and_scores_of_nothing_but_0_tie():
    classes = np.array([[0, 0, 1], [0, 1, 1], [-1, -1, 0]])
    scores = np.array([[0.0, 0.0, 1e-9], [0.0, 0.0, 0.0], [0.9, 0.9, 0.0]])
    for gamma in (0.5, 3, math.inf):
        chosen = weighted_choice(classes, scores, gamma)
        assert chosen.tolist() == [1, 0, 0], "the earliest of the tied; an abstention has no weight"
    assert powers(classes, scores, 0).tolist() == np.ones((3, 3)).tolist()


def test_negative_scores_have_no_powers_but_add_up():
    classes, scores = np.array([[0, 1]]), np.array([[-1.0, 2.0]])
    assert weighted_choice(classes, scores).tolist() == [1]
    with pytest.raises(ValueError, match=r"-1.0: a negative number has no power 2"):
        weighted_choice(classes, scores, 2)
    assert weighted_choice(np.array([[-1, 1]]), scores, 2).tolist() == [1], "who abstains is not asked"


@pytest.mark.parametrize("gamma", [0.5, 2, math.inf])
def test_the_expectation_is_the_mean_over_all_subsets(gamma):
    one = table(problems=2, samples=6)
    ks = [1, 3, 6]
    estimate = weighted_at_k(one, ks, gamma=gamma, permutations=4000)
    for row in range(2):
        for column, k in enumerate(ks):
            worths = []
            for subset in map(list, itertools.combinations(range(6), k)):
                votes, weights = (
                    one.classes[row][subset],
                    powers(one.classes[row][None, subset], one.scores[row][None, subset], gamma)[0],
                )
                sums = {c: weights[votes == c].sum() for c in set(votes.tolist()) - {-1}}
                leaders = [c for c, total in sums.items() if math.isclose(total, max(sums.values()))]
                worths.append(np.mean([one.correct[row][c] for c in leaders]) if leaders else 0.0)
            assert estimate.values[row, column] == pytest.approx(np.mean(worths), abs=0.03 if k == 3 else 1e-12)


def test_the_two_ends_of_the_power_are_the_exact_estimators():
    one = table(problems=40)
    ks = [1, 2, 4, 8]
    for gamma, exact in ((0, majority_at_k(one, ks)), (math.inf, best_of_k(one, ks))):
        estimate = weighted_at_k(one, ks, gamma=gamma, permutations=500)
        error = np.abs(estimate.values.mean(axis=0) - exact.mean(axis=0))
        assert (error <= 4.5 * estimate.monte_carlo_errors + 1e-12).all()


def test_auc_counts_the_pairs_of_right_and_wrong_samples_of_one_problem():
    one = VoteTable(
        problems=("both", "right alone", "wrong alone"),
        classes=np.array([[0, 0, 1, 1, -1], [0, 0, 0, 0, -1], [1, 1, 1, 2, 2]]),
        correct=np.tile([True, False, False], (3, 1)),
        scores=np.array([[0.9, 0.4, 0.4, 0.1, 1.0]] * 3),
    )
    # Of the four pairs three are in order, one is a tie; the abstaining sample takes no part.
    np.testing.assert_allclose(within_problem_auc(one), [3.5 / 4, np.nan, np.nan])
    big = table(3, problems=1, samples=50)
    right, votes = big.sample_correct[0], big.classes[0] >= 0
    pairs = big.scores[0][right][:, None] - big.scores[0][votes & ~right][None]
    assert within_problem_auc(big)[0] == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_correlations_are_over_the_chosen_samples_pooled_and_within_problems():
    scores = np.array([[0.1, 0.2, 0.3, 9.0], [1.1, 1.2, 1.3, 9.0]])
    lengths = np.array([[30.0, 20.0, 10.0, 5.0], [130.0, 120.0, 110.0, 5.0]])
    chosen = np.array([[True, True, True, False]] * 2)
    assert within_problem_correlation(scores, lengths, chosen) == pytest.approx(-1)
    assert correlation(scores, lengths, chosen) == pytest.approx(
        np.corrcoef(scores[:, :3].ravel(), lengths[:, :3].ravel())[0, 1]
    )
    assert correlation(np.ones((2, 4)), lengths, chosen) is None
    assert within_problem_correlation(scores, lengths, np.zeros((2, 4), dtype=bool)) is None
