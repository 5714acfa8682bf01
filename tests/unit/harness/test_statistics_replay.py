import numpy as np
import pytest

from timetrial.config import REDUCTIONS as CONFIG_REDUCTIONS
from timetrial.statistics.reduction import REDUCTIONS, reduce_scores
from timetrial.statistics.replay import search_and_learn_at_k
from timetrial.statistics.table import VoteTable


@pytest.fixture
def table():
    # Problem 0: a tie between classes 1 (first) and 0; problem 1: two of four samples give no answer.
    return VoteTable(
        problems=("tie", "empty"),
        classes=np.array([[1, 0, 0, 1], [-1, -1, 0, 1]]),
        correct=np.array([[True, False], [True, False]]),
        scores=np.array([[0.5, 0.5, 0.1, 0.1], [0.9, 0.2, 0.8, 0.4]]),
    )


def test_replay_takes_the_first_samples_and_the_first_group_of_a_tie(table):
    values = search_and_learn_at_k(table, [1, 2, 3, 4], "majority")
    assert values[0].tolist() == [0, 0, 1, 0]


def test_replay_lets_the_empty_answer_win_unless_told_otherwise(table):
    assert search_and_learn_at_k(table, [2, 3, 4], "majority")[1].tolist() == [0, 0, 0]
    assert search_and_learn_at_k(table, [2, 3, 4], "majority", empty_votes=False)[1].tolist() == [0, 1, 1]


def test_replay_of_naive_takes_the_first_of_the_best_scores(table):
    assert search_and_learn_at_k(table, [2, 4], "naive").tolist() == [[0, 0], [0, 0]]
    assert search_and_learn_at_k(table, [2, 4], "naive", empty_votes=False).tolist() == [[0, 0], [0, 1]]


def test_replay_of_weighted_sums_scores_and_takes_the_first_of_equal_sums(table):
    assert search_and_learn_at_k(table, [3, 4], "weighted")[0].tolist() == [1, 0]
    assert search_and_learn_at_k(table, [4], "weighted")[1].tolist() == [0]
    assert search_and_learn_at_k(table, [4], "weighted", empty_votes=False)[1].tolist() == [1]


def test_an_unknown_rule_is_refused(table):
    with pytest.raises(ValueError, match="expected majority, naive or weighted"):
        search_and_learn_at_k(table, [1], "best")


def test_step_scores_reduce_as_named():
    scores = (0.5, 0.2, 0.8)
    reduced = {name: reduce_scores(scores, name) for name in REDUCTIONS}
    assert reduced == {"last": 0.8, "min": 0.2, "prod": pytest.approx(0.08), "mean": pytest.approx(0.5)}
    assert REDUCTIONS == CONFIG_REDUCTIONS


def test_nothing_to_reduce_and_unknown_reductions_are_refused():
    with pytest.raises(ValueError, match="without step scores"):
        reduce_scores((), "last")
    with pytest.raises(ValueError, match="last, min, prod, mean"):
        reduce_scores((1.0,), "max")
