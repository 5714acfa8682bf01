"""The estimators at k samples, against brute force over all subsets and against what must hold of any pool."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from timetrial.statistics.best_of import best_of_k
from timetrial.statistics.choice import best_of_choice, majority_choice, weighted_choice, whole_pool_value
from timetrial.statistics.coverage import pass_at_k, pass_at_k_from_counts
from timetrial.statistics.majority import majority_at_k
from timetrial.statistics.monte_carlo import monte_carlo_at_k
from timetrial.statistics.table import VoteTable
from timetrial.statistics.weighted import weighted_at_k

SEEDS = range(12)


def random_table(seed, *, problems=3, samples=None, classes=None, abstain=True, num_scores=4):
    """Draw a pool with ties in votes and in scores."""
    rng = np.random.default_rng(seed)
    samples = samples or int(rng.integers(1, 9))
    classes = classes or int(rng.integers(1, 6))
    return VoteTable(
        problems=tuple(f"p{row}" for row in range(problems)),
        classes=rng.integers(-1 if abstain else 0, classes, (problems, samples)),
        correct=rng.random((problems, classes)) < 0.4,
        scores=rng.integers(1, num_scores + 1, (problems, samples)) / num_scores,
    )


def all_ks(table):
    return list(range(1, table.num_samples + 1))


class Majority:
    needs_scores = False

    def choose(self, classes, scores):
        return majority_choice(classes)


# Brute force: a rule gives the value of one subset, by its definition.


def covered(classes, scores, correct):
    return any(correct[answer] for answer in classes if answer >= 0)


def elected(classes, totals, correct):
    """Return the share of right classes among those with the largest total."""
    voted = sorted({answer for answer in classes if answer >= 0})
    leaders = [answer for answer in voted if totals[answer] == max(totals[other] for other in voted)]
    return float(np.mean([correct[answer] for answer in leaders])) if leaders else 0.0


def by_majority(classes, scores, correct):
    return elected(classes, {answer: classes.count(answer) for answer in classes}, correct)


def by_weighted(classes, scores, correct):
    totals = {answer: sum(s for c, s in zip(classes, scores, strict=True) if c == answer) for answer in classes}
    return elected(classes, totals, correct)


def by_best(classes, scores, correct):
    voters = [(score, answer) for answer, score in zip(classes, scores, strict=True) if answer >= 0]
    best = [answer for score, answer in voters if score == max(voters)[0]]
    return float(np.mean([correct[answer] for answer in best])) if best else 0.0


def brute_force(table, rule, ks):
    values = np.empty((len(table.problems), len(ks)))
    for row, column in np.ndindex(values.shape):
        subsets = itertools.combinations(range(table.num_samples), ks[column])
        classes, scores = table.classes[row].tolist(), table.scores[row].tolist()
        outcomes = [rule([classes[i] for i in s], [scores[i] for i in s], table.correct[row]) for s in subsets]
        values[row, column] = np.mean(outcomes)
    return values


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("estimator", "rule"), [(pass_at_k, covered), (majority_at_k, by_majority), (best_of_k, by_best)]
)
def test_exact_estimators_equal_brute_force_over_all_subsets(estimator, rule, seed):
    table = random_table(seed)
    np.testing.assert_allclose(
        estimator(table, all_ks(table)), brute_force(table, rule, all_ks(table)), rtol=0, atol=1e-13
    )


def test_exact_estimators_equal_brute_force_with_ten_samples():
    table = random_table(100, problems=2, samples=10, classes=4)
    for estimator, rule in ((pass_at_k, covered), (majority_at_k, by_majority), (best_of_k, by_best)):
        np.testing.assert_allclose(
            estimator(table, all_ks(table)), brute_force(table, rule, all_ks(table)), rtol=0, atol=1e-13
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_weighted_is_within_its_own_error_of_brute_force(seed):
    table = random_table(seed, problems=12, samples=7)
    values, errors = weighted_at_k(table, all_ks(table), permutations=400, seed=seed)
    truth = brute_force(table, by_weighted, all_ks(table))
    assert (np.abs(values.mean(axis=0) - truth.mean(axis=0)) <= 4 * errors + 1e-12).all()
    np.testing.assert_allclose(values[:, [0, -1]], truth[:, [0, -1]], atol=1e-12)
    assert errors[0] == errors[-1] == 0


def generating_function(sizes, right, num_abstaining, k):
    """Return the exact majority value with integers, one polynomial in x per number of ties."""
    total = Fraction(0)
    for winner in right:
        for m in range(1, min(sizes[winner], k) + 1):
            others = [size for answer, size in enumerate(sizes) if answer != winner]
            free = num_abstaining + sum(size for size in others if size < m)
            by_ties = {0: [comb(free, degree) for degree in range(k - m + 1)]}
            for size in (size for size in others if size >= m):
                longer = {}
                for ties, row in by_ties.items():
                    for i in range(m + 1):
                        target = longer.setdefault(ties + (i == m), [0] * len(row))
                        for degree in range(i, len(row)):
                            target[degree] += comb(size, i) * row[degree - i]
                by_ties = longer
            total += comb(sizes[winner], m) * sum(Fraction(row[-1], ties + 1) for ties, row in by_ties.items())
    return float(total / comb(sum(sizes) + num_abstaining, k))


@pytest.mark.parametrize(
    ("sizes", "num_abstaining", "ks"),
    [
        ([1] * 20, 0, [2, 10, 19]),
        ([9, 8, 8, 7, 5, 3, 2, 1, 1, 1], 6, [3, 16, 25, 50]),
        ([400, 390, 120, 30], 84, [4, 16, 32]),
        ([1023, 1], 0, [2, 1023]),
        ([512, 512], 0, [3, 63]),
    ],
)
def test_majority_equals_integer_arithmetic_on_large_pools(sizes, num_abstaining, ks):
    classes = np.repeat([*range(len(sizes)), -1], [*sizes, num_abstaining])
    correct = np.zeros((1, len(sizes)), dtype=bool)
    correct[0, :2] = True
    correct[0, 0] = len(sizes) > 2
    table = VoteTable(problems=("p",), classes=classes[None], correct=correct)
    right = np.flatnonzero(correct[0]).tolist()
    exact = [generating_function(sizes, right, num_abstaining, k) for k in ks]
    np.testing.assert_allclose(majority_at_k(table, ks)[0], exact, rtol=0, atol=2e-14)


def test_majority_is_stable_with_1024_samples():
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(40, 0.2), size=8)
    classes = np.stack([rng.choice(41, size=1024, p=[*(0.9 * row), 0.1]) for row in shares])
    correct = np.zeros((8, 40), dtype=bool)
    correct[np.arange(8), shares.argmax(axis=1)] = True
    table = VoteTable(problems=tuple("abcdefgh"), classes=np.where(classes == 40, -1, classes), correct=correct)
    ks = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1023, 1024]
    values = majority_at_k(table, ks)
    assert ((values >= 0) & (values <= 1)).all()
    np.testing.assert_allclose(values[:, 0], pass_at_k(table, [1])[:, 0], atol=1e-14)
    np.testing.assert_allclose(values[:, -1], whole_pool_value(table), atol=1e-14)
    estimate = monte_carlo_at_k(table, Majority(), ks[:-1], permutations=200)
    assert (np.abs(estimate.values - values[:, :-1]).mean(axis=0) < 0.05).all()


@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_pool_in_which_everybody_abstains_solves_nothing(num_classes):
    table = VoteTable(
        problems=("a", "b"),
        classes=np.full((2, 4), -1),
        correct=np.ones((2, num_classes), dtype=bool),
        scores=np.ones((2, 4)),
    )
    for estimator in (pass_at_k, majority_at_k, best_of_k):
        np.testing.assert_array_equal(estimator(table, [1, 2, 4]), 0)
    np.testing.assert_array_equal(weighted_at_k(table, [1, 2, 4]).values, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_majority_of_two_is_worth_one_sample_without_abstentions(seed):
    table = random_table(seed, samples=6, abstain=False)
    single = pass_at_k(table, [1])
    np.testing.assert_allclose(majority_at_k(table, [1, 2]), np.hstack([single, single]), atol=1e-14)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_samples_give_the_direct_vote(seed):
    table = random_table(seed)
    ks = [table.num_samples]
    np.testing.assert_allclose(majority_at_k(table, ks), brute_force(table, by_majority, ks), atol=1e-14)
    np.testing.assert_allclose(weighted_at_k(table, ks).values, brute_force(table, by_weighted, ks), atol=1e-14)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_scores_make_best_of_a_random_sample_and_weighted_a_majority(seed):
    drawn = random_table(seed, problems=20, samples=7, abstain=False)
    table = VoteTable(
        problems=drawn.problems, classes=drawn.classes, correct=drawn.correct, scores=np.full(drawn.classes.shape, 0.3)
    )
    ks = all_ks(table)
    np.testing.assert_allclose(best_of_k(table, ks), np.repeat(pass_at_k(table, [1]), len(ks), axis=1), atol=1e-14)
    values, errors = weighted_at_k(table, ks)
    assert (np.abs(values.mean(axis=0) - majority_at_k(table, ks).mean(axis=0)) <= 4 * errors + 1e-12).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_rule_beats_coverage_on_any_problem(seed):
    table = random_table(seed)
    ks = all_ks(table)
    bound = pass_at_k(table, ks) + 1e-12
    assert (majority_at_k(table, ks) <= bound).all()
    assert (best_of_k(table, ks) <= bound).all()
    # Both sides by the same subsets: Monte Carlo noise of one side alone could cross the bound.
    assert (brute_force(table, by_weighted, ks) <= bound).all()
    assert (weighted_at_k(table, ks).values[bound <= 1e-12] == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_estimates_do_not_depend_on_sample_order_or_class_numbers(seed):
    table = random_table(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(table.num_samples)
    renamed = rng.permutation(table.correct.shape[1])
    shuffled = VoteTable(
        problems=table.problems,
        classes=np.append(renamed, -1)[table.classes][:, order],
        correct=table.correct[:, np.argsort(renamed)],
        scores=table.scores[:, order],
    )
    ks = all_ks(table)
    for estimator in (pass_at_k, majority_at_k, best_of_k):
        np.testing.assert_allclose(estimator(shuffled, ks), estimator(table, ks), atol=1e-13)
    np.testing.assert_allclose(brute_force(shuffled, by_weighted, ks), brute_force(table, by_weighted, ks), atol=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
def test_best_of_depends_on_the_order_of_scores_alone(seed):
    table = random_table(seed)
    stretched = VoteTable(
        problems=table.problems, classes=table.classes, correct=table.correct, scores=np.exp(5 * table.scores) - 100
    )
    np.testing.assert_array_equal(best_of_k(stretched, all_ks(table)), best_of_k(table, all_ks(table)))


def scored_table(scores):
    """Two votes for a right class against one for a wrong class."""
    return VoteTable(
        problems=("p",), classes=np.array([[0, 0, 1]]), correct=np.array([[True, False]]), scores=np.array([scores])
    )


def test_weighted_ignores_the_scale_of_scores_but_not_their_origin():
    scores = np.array([0.1, 0.1, 0.4])
    ks = [1, 2, 3]
    plain = weighted_at_k(scored_table(scores), ks).values
    np.testing.assert_array_equal(weighted_at_k(scored_table(8 * scores), ks).values, plain)
    assert plain[0, -1] == 0
    assert weighted_at_k(scored_table(scores + 1), ks).values[0, -1] == 1


def test_negative_and_zero_scores_still_elect_a_class_that_was_voted_for():
    classes, scores = np.array([[1, 1, 2], [-1, 0, 0], [-1, -1, -1]]), np.array([[-1.0, -1, -1], [9, 0, 0], [1, 1, 1]])
    assert weighted_choice(classes, scores).tolist() == [2, 0, -1]


def test_ties_go_to_the_earliest_sample_and_abstentions_never_win():
    classes = np.array([[2, 0, 0, 2], [-1, -1, -1, 3], [-1, -1, -1, -1], [1, 0, 2, 0]])
    scores = np.array([[0.5, 0.9, 0.1, 0.5], [0.9, 0.9, 0.9, 0.1], [0.1, 0.2, 0.3, 0.4], [0.7, 0.2, 0.7, 0.5]])
    assert majority_choice(classes).tolist() == [2, 3, -1, 0]
    assert weighted_choice(classes, scores).tolist() == [2, 3, -1, 1]
    assert best_of_choice(classes, scores).tolist() == [0, 3, -1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_monte_carlo_majority_is_within_four_errors_of_the_exact_value(seed):
    table = random_table(seed, problems=60, samples=32, classes=8)
    ks = [1, 2, 4, 8, 16, 31, 32]
    values, errors = monte_carlo_at_k(table, Majority(), ks, seed=seed)
    exact = majority_at_k(table, ks)
    assert (np.abs(values.mean(axis=0) - exact.mean(axis=0)) <= 4 * errors + 1e-12).all()
    np.testing.assert_allclose(values[:, 0], exact[:, 0], atol=1e-14)
    assert errors[0] == 0 and (errors[1:5] > 0).all()
    assert (errors <= 0.5 / np.sqrt(60 * 255)).all()


def test_permutations_of_a_problem_do_not_depend_on_the_other_problems():
    table = random_table(0, problems=5, samples=8)
    alone = VoteTable(problems=table.problems[3:4], classes=table.classes[3:4], correct=table.correct[3:4])
    whole = monte_carlo_at_k(table, Majority(), [3, 5], seed=1).values
    np.testing.assert_array_equal(monte_carlo_at_k(alone, Majority(), [3, 5], seed=1).values[0], whole[3])
    assert not np.array_equal(monte_carlo_at_k(table, Majority(), [3, 5], seed=2).values, whole)


class Broken:
    needs_scores = False

    def __init__(self, answer):
        self.answer = answer

    def choose(self, classes, scores):
        return self.answer(classes)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda classes: classes, "one class number per row"),
        (lambda classes: classes[:, 0] * 1.0, "of float64"),
        (lambda classes: classes[:, 0] * 0 + 7, "returned class 7"),
        (lambda classes: classes[:, 0] * 0 - 2, "returned class -2"),
    ],
)
def test_a_choice_that_is_no_class_per_row_is_refused(answer, complaint):
    with pytest.raises(ValueError, match=complaint):
        monte_carlo_at_k(random_table(0, samples=4, classes=3), Broken(answer), [2])


def test_pass_at_k_has_no_value_beyond_a_problems_own_samples():
    values = pass_at_k_from_counts([4, 2], [1, 1], [1, 2, 3])
    np.testing.assert_allclose(values, [[0.25, 0.5, 0.75], [0.5, 1.0, np.nan]])


@pytest.mark.parametrize(("samples", "correct"), [([4], [5]), ([4], [-1]), ([4, 4], [1]), ([[4]], [[1]])])
def test_impossible_counts_are_refused(samples, correct):
    with pytest.raises(ValueError):
        pass_at_k_from_counts(samples, correct, [1])


@pytest.mark.parametrize("k", [0, 9])
@pytest.mark.parametrize("estimator", [pass_at_k, majority_at_k, best_of_k, weighted_at_k])
def test_a_k_that_the_pool_cannot_serve_is_refused(estimator, k):
    with pytest.raises(ValueError, match=f"k = {k} needs 1 <= k <= 8"):
        estimator(random_table(0, samples=8), [k])


@pytest.mark.parametrize("estimator", [best_of_k, weighted_at_k])
def test_rules_that_need_scores_refuse_a_table_without(estimator):
    table = VoteTable(problems=("p",), classes=np.array([[0, 0]]), correct=np.array([[True]]))
    with pytest.raises(ValueError, match="has none"):
        estimator(table, [1])


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_refused(score):
    with pytest.raises(ValueError, match="problem 'p' has score"):
        scored_table([0.1, score, 0.2])
