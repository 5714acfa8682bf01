import random

import numpy as np
import pytest

from timetrial.error import RunError
from timetrial.record import Count, Grade, Series, StepScores
from timetrial.stages.pools import collect_counts, collect_votes

KEY = {"model": "m", "task": "t", "temperature": 0.8}


def grade(problem, sample, answer, correct=False, **key):
    return Grade(
        **(KEY | key), problem=problem, sample=sample, answer=answer, answer_class=answer, correct=correct, grader="g/1"
    )


def steps(problem, sample, *scores, reward_model="prm"):
    return StepScores(**KEY, problem=problem, sample=sample, reward_model=reward_model, scores=scores)


def one_pool(grades, scores=(), num_samples=2, reduction="last"):
    (pool,) = collect_votes(grades, scores, num_samples=num_samples, reduction=reduction)
    return pool


def test_samples_become_votes_for_answer_classes():
    pool = one_pool([grade("b", 0, "7"), grade("b", 1, "8", True), grade("a", 0, None, None), grade("a", 1, "7")])
    assert pool.series == Series("m", "t", 0.8)
    assert pool.problems == ("a", "b")
    assert pool.table.classes.tolist() == [[-1, 0], [0, 1]]
    assert pool.table.correct.tolist() == [[False, False], [False, True]]
    assert pool.table.sample_correct.tolist() == [[False, False], [False, True]]


def test_a_shuffled_file_gives_the_same_votes():
    rng = random.Random(0)
    places = [(f"p{number}", sample) for number in range(5) for sample in range(6)]
    grades = [grade(*place, answer := rng.choice(["1", "2", "3", None]), answer == "2") for place in places]
    scores = [steps(*place, rng.random()) for place in places]
    plain = one_pool(grades, scores, 6)
    rng.shuffle(grades)
    rng.shuffle(scores)
    shuffled = one_pool(grades, scores, 6)
    np.testing.assert_array_equal(plain.table.sample_correct, shuffled.table.sample_correct)
    np.testing.assert_array_equal(plain.scored["prm"].scores, shuffled.scored["prm"].scores)
    for before, after in zip(plain.table.classes, shuffled.table.classes, strict=True):
        same_class = before[:, None] == before[None, :]
        np.testing.assert_array_equal(same_class, after[:, None] == after[None, :])


def test_problems_without_all_samples_are_left_out_and_counted():
    pool = one_pool([grade("a", 0, "1"), grade("a", 1, "1"), grade("b", 1, "1"), grade("b", 7, "1")])
    assert (pool.problems, pool.num_samples, pool.num_left_out) == (("a",), 2, 1)


def test_samples_beyond_those_asked_for_are_not_read():
    pool = one_pool([grade("a", sample, str(sample), sample == 2) for sample in range(4)])
    assert pool.table.classes.shape == (1, 2)
    assert not pool.table.correct.any()


def test_a_pool_may_have_no_complete_problem():
    pool = one_pool([grade("a", 0, "1")], [steps("a", 0, 1.0)])
    assert (pool.problems, pool.num_samples, pool.num_left_out) == ((), 2, 1)
    assert pool.scored["prm"].problems == ()


def test_an_unknown_verdict_votes_counts_as_wrong_and_is_reported():
    pool = one_pool([grade("a", 0, "1", None), grade("a", 1, "1", None)])
    assert pool.table.classes.tolist() == [[0, 0]]
    assert not pool.table.correct.any()
    assert pool.num_unknown == 2


def test_a_class_is_judged_by_its_first_sample_and_disagreement_is_counted():
    grades = [grade("a", 1, "x", False), grade("a", 0, "x", True), grade("a", 2, "y", True)]
    pool = one_pool(grades, num_samples=3)
    assert pool.table.sample_correct.tolist() == [[True, True, True]]
    assert pool.num_split_classes == 1


def test_series_are_kept_apart():
    pools = collect_votes(
        [grade("a", 0, "1"), grade("a", 0, "1", temperature=0.6), grade("a", 0, "1", model="n")],
        [],
        num_samples=1,
        reduction="last",
    )
    assert [pool.series for pool in pools] == [Series("m", "t", 0.8), Series("m", "t", 0.6), Series("n", "t", 0.8)]


def test_a_scored_table_holds_the_problems_whose_every_answer_has_a_score():
    grades = [grade("a", 0, "1"), grade("a", 1, None, None), grade("b", 0, "1"), grade("b", 1, "2")]
    scores = [steps("a", 0, 0.5, 0.25), steps("b", 0, 0.5), steps("b", 0, 0.1, reward_model="orm")]
    pool = one_pool(grades, scores, reduction="prod")
    assert pool.problems == ("a", "b")
    assert pool.scored["prm"].problems == ("a",)
    assert pool.scored["prm"].scores.tolist() == [[0.125, 0.0]]
    assert pool.scored["orm"].problems == ()


def test_an_answer_that_was_given_no_score_abstains_among_the_scored_and_votes_among_all():
    unscored = StepScores(**KEY, problem="a", sample=0, reward_model="prm", scores=(), reason="too long: by 9 tokens")
    pool = one_pool([grade("a", 0, "1", True), grade("a", 1, "2")], [unscored, steps("a", 1, 0.5)])
    assert pool.table.classes.tolist() == [[0, 1]]
    assert pool.scored["prm"].classes.tolist() == [[-1, 1]]
    assert pool.scored["prm"].scores.tolist() == [[0.0, 0.5]]
    assert pool.scored["prm"].correct.tolist() == pool.table.correct.tolist()
    with pytest.raises(RunError, match="scored by prm twice"):
        one_pool([grade("a", 0, "1"), grade("a", 1, "2")], [unscored, unscored])


@pytest.mark.parametrize(
    ("grades", "scores", "complaint"),
    [
        ([grade("a", 0, "1"), grade("a", 0, "2")], [], "sample 0 of problem 'a' .* graded twice"),
        ([grade("a", 0, "1")], [steps("a", 0, 1.0), steps("a", 0, 1.0)], "scored by prm twice"),
        ([grade("a", 0, "1")], [steps("a", 0)], "sample 0 of problem 'a': a completion without step scores"),
        ([grade("a", 0, "1")], [steps("a", 0, float("nan"))], "the score nan"),
    ],
)
def test_records_that_contradict_each_other_are_refused(grades, scores, complaint):
    with pytest.raises(RunError, match=complaint):
        one_pool(grades, scores)


def count(problem, num_samples, num_correct):
    return Count(**KEY, problem=problem, num_samples=num_samples, num_correct=num_correct)


def test_counts_with_too_few_samples_are_left_out_and_larger_ones_kept_whole():
    (pool,) = collect_counts([count("b", 8, 3), count("a", 4, 1), count("c", 2, 2)], num_samples=4)
    assert pool.problems == ("a", "b")
    assert (pool.totals.tolist(), pool.num_correct.tolist()) == ([4, 8], [1, 3])
    assert (pool.num_samples, pool.num_left_out) == (4, 1)


def test_a_problem_counted_twice_is_refused():
    with pytest.raises(RunError, match="counted twice"):
        collect_counts([count("a", 4, 1), count("a", 4, 1)], num_samples=4)
