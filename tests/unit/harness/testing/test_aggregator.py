"""Aggregators that keep the contract pass it, and the contract catches those that do not."""

from itertools import count
from math import comb

import numpy as np
import pytest

from timetrial.statistics.table import VoteTable
from timetrial.testing import AggregatorContract
from timetrial.testing.aggregator import brute_force_accuracy, small_table


class First:
    """Chooses the first vote that is no abstention."""

    needs_scores = False

    def choose(self, classes, scores):
        first = (classes != -1).argmax(axis=1)
        return classes[np.arange(len(classes)), first]


class ExactFirst(First):
    """Any of the j samples that vote is the first equally often, unless all k are among the N - j others."""

    def expected_accuracy(self, table, ks):
        num_samples, num_votes = table.num_samples, (table.classes != -1).sum(axis=1)
        right = table.sample_correct.sum(axis=1) / np.maximum(num_votes, 1)
        silent = [[comb(num_samples - votes, k) / comb(num_samples, k) for k in ks] for votes in num_votes]
        return (1 - np.array(silent)) * right[:, None]


class Best(First):
    """Chooses the vote with the best score."""

    needs_scores = True

    def choose(self, classes, scores):
        return classes[np.arange(len(classes)), np.where(classes == -1, -np.inf, scores).argmax(axis=1)]


class TestFirst(AggregatorContract):
    @pytest.fixture
    def aggregator(self):
        return First()


class TestExactFirst(AggregatorContract):
    @pytest.fixture
    def aggregator(self):
        return ExactFirst()


class TestBest(AggregatorContract):
    @pytest.fixture
    def aggregator(self):
        return Best()


class Chooses(First):
    def __init__(self, choose):
        self.choose = choose


numbers = count()
CLASSES = np.random.default_rng(0).integers(-1, 6, size=(60, 9))
SCORES = np.random.default_rng(1).random((60, 9))


def lowest(classes, scores):
    """Choose the lowest class number that got a vote, -1 if none did."""
    return np.where(classes == -1, 99, classes).min(axis=1) % 99


def overwrite(classes, scores):
    classes[:] = 0
    return classes[:, 0].copy()


FAULTS = {
    "choices of a wrong shape": (
        AggregatorContract.test_it_chooses_one_class_a_row,
        lambda classes, scores: classes,
        "choices of shape",
    ),
    "choices that are no integers": (
        AggregatorContract.test_it_chooses_one_class_a_row,
        lambda classes, scores: classes[:, 0].astype(float),
        "must be int64",
    ),
    "a class without a vote": (
        AggregatorContract.test_it_chooses_one_class_a_row,
        lambda classes, scores: np.full(len(classes), 7),
        "elected 7, which has none",
    ),
    "a choice without votes": (
        AggregatorContract.test_no_vote_gives_no_choice,
        lambda classes, scores: np.zeros(len(classes), int),
        "must give -1",
    ),
    "a tie-break by number": (
        AggregatorContract.test_numbering_the_classes_otherwise_changes_nothing,
        lowest,
        "how the classes are numbered",
    ),
    "rows that influence each other": (
        AggregatorContract.test_rows_are_independent,
        lambda classes, scores: np.full(len(classes), classes.max()),
        "alone elects",
    ),
    "chance": (
        AggregatorContract.test_it_is_deterministic_and_leaves_its_input_alone,
        lambda classes, scores: classes[:, next(numbers) % 9],
        "two different choices",
    ),
    "writing into arguments": (
        AggregatorContract.test_it_is_deterministic_and_leaves_its_input_alone,
        overwrite,
        "must not write",
    ),
    "scores read on the sly": (
        AggregatorContract.test_it_reads_scores_only_if_it_says_so,
        lambda classes, scores: classes[:, 0 if scores is None else 1],
        "scores change the choice",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_catches(fault):
    check, choose, message = FAULTS[fault]
    arguments = {"num_votes": 9} if check is AggregatorContract.test_it_chooses_one_class_a_row else {}
    with pytest.raises(AssertionError, match=message):
        check(AggregatorContract(), Chooses(choose), CLASSES.copy(), SCORES.copy(), **arguments)


def test_the_contract_catches_a_wrong_exact_accuracy():
    aggregator = ExactFirst()
    aggregator.expected_accuracy = lambda table, ks: np.full((len(table.problems), len(ks)), 0.5)
    with pytest.raises(AssertionError, match="expected accuracy at k = 1"):
        AggregatorContract().test_its_exact_accuracy_is_the_mean_over_all_subsets(aggregator, 0)


def test_brute_force_is_the_mean_over_ordered_subsets():
    table = VoteTable(problems=("a",), classes=np.array([[0, 1, 1, -1]]), correct=np.array([[True, False]]))
    # One sample: 1 of 4 is right. Two in order: right are (0, any of the other three) and (-1, 0), 4 of 12.
    assert brute_force_accuracy(First(), table, 1) == pytest.approx([1 / 4])
    assert brute_force_accuracy(First(), table, 2) == pytest.approx([4 / 12])


def test_small_tables_hold_the_hard_cases():
    tables = [small_table(seed) for seed in range(4)]
    assert all((table.classes[-1] == -1).all() and not table.correct[-2:].any() for table in tables)
    assert any(row.sum() > 1 for table in tables for row in table.correct)
    assert all(len(np.unique(table.scores)) <= 4 for table in tables)
