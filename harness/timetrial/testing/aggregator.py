"""The contract of aggregators, and exact accuracies checked against counting all subsets.

Shapes: P problems, N samples per problem, R rows, k votes per row, K values of k.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from timetrial.protocol import Aggregator, ExactAggregator, WeighingAggregator
from timetrial.statistics.table import FloatArray, IntArray, VoteTable

_NUM_CLASSES = 6


class AggregatorContract:
    """Override `aggregator`."""

    @pytest.fixture
    def aggregator(self) -> Aggregator:
        """Return the aggregator under test."""
        raise NotImplementedError("override the fixture `aggregator`")

    @pytest.fixture
    def classes(self) -> IntArray:
        """Return votes (R, k) with ties, abstentions, and rows without any vote."""
        classes = np.random.default_rng(0).integers(-1, _NUM_CLASSES, size=(60, 9))
        classes[:5] = -1
        return classes

    @pytest.fixture
    def scores(self) -> FloatArray:
        """Return scores (R, k) between 0 and 1, all different."""
        return np.random.default_rng(1).random((60, 9))

    def test_it_has_everything_the_protocol_asks_for(self, aggregator: Aggregator) -> None:
        """An aggregator has the protocol's members."""
        assert isinstance(aggregator, Aggregator), f"{type(aggregator).__name__} lacks a member of timetrial.Aggregator"
        assert isinstance(aggregator.needs_scores, bool), "needs_scores must be a bool"

    @pytest.mark.parametrize("num_votes", [1, 2, 9])
    def test_it_chooses_one_class_a_row(
        self, aggregator: Aggregator, classes: IntArray, scores: FloatArray, num_votes: int
    ) -> None:
        """The choice is (R,) int64, and one of the row's own classes or -1."""
        classes, scores = classes[:, :num_votes], scores[:, :num_votes]
        chosen = aggregator.choose(classes, scores)
        assert chosen.shape == (len(classes),), f"{classes.shape} votes gave choices of shape {chosen.shape}"
        assert chosen.dtype == np.int64, f"choices must be int64, not {chosen.dtype}"
        for row, choice in enumerate(chosen):
            assert choice == -1 or choice in classes[row], f"votes {classes[row]} elected {choice}, which has none"

    def test_no_vote_gives_no_choice(self, aggregator: Aggregator, classes: IntArray, scores: FloatArray) -> None:
        """If all samples abstain, nothing is chosen, whatever the scores."""
        chosen = aggregator.choose(np.full_like(classes, -1), scores)
        assert (chosen == -1).all(), f"abstentions only must give -1, not {np.unique(chosen)}"

    def test_numbering_the_classes_otherwise_changes_nothing(
        self, aggregator: Aggregator, classes: IntArray, scores: FloatArray
    ) -> None:
        """Class numbers are names: a tie must not go to the lower number, but to a position."""
        chosen = aggregator.choose(classes, scores)
        for seed in range(5):
            names = np.append(np.random.default_rng(seed).permutation(_NUM_CLASSES), -1)
            renamed = aggregator.choose(names[classes], scores)
            assert (renamed == names[chosen]).all(), "the choice depends on how the classes are numbered"

    def test_rows_are_independent(self, aggregator: Aggregator, classes: IntArray, scores: FloatArray) -> None:
        """A row gives the same choice alone and in company."""
        chosen = aggregator.choose(classes, scores)
        for row in range(len(classes)):
            alone = aggregator.choose(classes[row : row + 1], scores[row : row + 1])
            assert alone[0] == chosen[row], f"row {row} alone elects {alone[0]}, in company {chosen[row]}"

    def test_it_is_deterministic_and_leaves_its_input_alone(
        self, aggregator: Aggregator, classes: IntArray, scores: FloatArray
    ) -> None:
        """Randomness is the harness's business: it draws the rows."""
        before = classes.copy(), scores.copy()
        first, second = aggregator.choose(classes, scores), aggregator.choose(classes, scores)
        assert (first == second).all(), "the same votes gave two different choices"
        unchanged = (classes == before[0]).all() and (scores == before[1]).all()
        assert unchanged, "choose must not write into its arguments"

    def test_it_reads_scores_only_if_it_says_so(
        self, aggregator: Aggregator, classes: IntArray, scores: FloatArray
    ) -> None:
        """Without `needs_scores`, scores may be None and make no difference."""
        if aggregator.needs_scores:
            pytest.skip("it needs scores")
        same = (aggregator.choose(classes, None) == aggregator.choose(classes, scores)).all()
        assert same, "needs_scores is False, but scores change the choice"

    def test_a_power_of_the_scores_is_kept_and_at_0_scores_make_no_difference(
        self, aggregator: Aggregator, classes: IntArray, scores: FloatArray
    ) -> None:
        """`with_gamma` returns the same rule with another power, and leaves the rule it was asked of as it is."""
        if not isinstance(aggregator, WeighingAggregator):
            pytest.skip("it adds no scores up")
        chosen, gamma = aggregator.choose(classes, scores), aggregator.gamma
        other, flat = aggregator.with_gamma(3.0), aggregator.with_gamma(0.0)
        assert isinstance(other, WeighingAggregator) and other.gamma == 3, "with_gamma must keep the power"
        same = (aggregator.with_gamma(gamma).choose(classes, scores) == chosen).all()
        assert same and aggregator.gamma == gamma, "the same power must give the same choices"
        cubes = aggregator.with_gamma(1.0).choose(classes, scores**3)
        assert (other.choose(classes, scores) == cubes).all(), "a power must be that of the scores"
        assert (flat.choose(classes, scores) == flat.choose(classes, 1 - scores)).all(), "at 0 all weigh the same"

    @pytest.mark.parametrize("seed", range(4))
    def test_its_exact_accuracy_is_the_mean_over_all_subsets(self, aggregator: Aggregator, seed: int) -> None:
        """`expected_accuracy` is what `choose` gives on average over every ordered subset of k samples."""
        if not isinstance(aggregator, ExactAggregator):
            pytest.skip("it has no expected_accuracy")
        table = small_table(seed)
        ks = range(1, table.num_samples + 1)
        exact = aggregator.expected_accuracy(table, ks)
        assert exact.shape == (len(table.problems), len(ks)), f"expected_accuracy has shape {exact.shape}"
        for column, k in enumerate(ks):
            counted = brute_force_accuracy(aggregator, table, k)
            np.testing.assert_allclose(exact[:, column], counted, atol=1e-9, err_msg=f"expected accuracy at k = {k}")


def small_table(seed: int) -> VoteTable:
    """Return a table of 6 problems and 5 samples with ties in votes and scores, abstentions and several right classes.

    The last problem has no votes, the one before no right answer.
    """
    generator = np.random.default_rng(seed)
    classes = generator.integers(-1, 3, size=(6, 5))
    classes[-1] = -1
    correct = generator.random((6, 3)) < 0.5
    correct[-2:] = False
    scores = generator.integers(0, 4, size=(6, 5)) / 4
    return VoteTable(problems=tuple("abcdef"), classes=classes, correct=correct, scores=scores)


def brute_force_accuracy(aggregator: Aggregator, table: VoteTable, k: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the accuracy (P,) of an aggregator over all ordered subsets of k of each problem's N samples."""
    subsets = np.array(list(permutations(range(table.num_samples), k)))
    accuracies = []
    for row, correct in enumerate(table.correct):
        scores = None if table.scores is None else table.scores[row][subsets]
        chosen = aggregator.choose(table.classes[row][subsets], scores)
        accuracies.append(np.append(correct, False)[chosen].mean())
    return np.array(accuracies)
