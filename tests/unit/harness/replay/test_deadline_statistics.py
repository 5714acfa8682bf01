"""When the completions of a subset are finished, and which deadlines are looked at."""

import numpy as np
import pytest

from timetrial.statistics.deadline import deadline_ladder, random_orders, static_finish_s, subset_finish_s
from timetrial.statistics.step_seconds import StepSeconds

STEPS = StepSeconds(batches=(1, 2, 4), fixed_s=(1.0, 1.3, 2.4), per_token_s=(0.01, 0.02, 0.03))


def plain_finish_s(mode, prompt, lengths):
    """Walk through the steps, and note the time at which each completion ends."""
    now, finished = 0.0, {}
    for t in range(1, max(lengths) + 1):
        running = len(lengths) if mode == "static" else sum(length >= t for length in lengths)
        fixed, per_token = STEPS.at([running])
        now += float(fixed[0] + per_token[0] * (prompt + t))
        finished |= {place: now for place, length in enumerate(lengths) if length == t}
    return [finished.get(place, 0.0) for place in range(len(lengths))]


@pytest.mark.parametrize("mode", ["static", "compact"])
def test_each_completion_is_finished_when_a_walk_through_the_steps_says(mode):
    lengths = np.array([[3, 9, 9, 1], [5, 5, 5, 5], [12, 1, 2, 0]])
    expected = [plain_finish_s(mode, 7, row) for row in lengths.tolist()]
    np.testing.assert_allclose(subset_finish_s(STEPS, mode, 7, lengths), expected, rtol=1e-12)


def test_a_static_batch_does_not_care_who_else_is_in_it():
    finish_s = static_finish_s(STEPS, np.array([7, 3]), np.array([[3, 9], [1, 4]]), 4)
    assert finish_s[0, 1] == pytest.approx(sum(2.4 + 0.03 * (7 + t) for t in range(1, 10)))
    assert finish_s[1, 0] == pytest.approx(2.4 + 0.03 * 4)


@pytest.mark.parametrize(("first", "last"), [(0.03, 0.4), (1.0, 1.0), (0.99, 1001.0), (3e-7, 8e4)])
def test_deadlines_begin_before_anything_is_finished_and_end_when_everything_is(first, last):
    rungs = deadline_ladder(first, last)
    assert rungs[0] < first <= rungs[1] and rungs[-2] < last <= rungs[-1]
    assert list(rungs) == sorted(set(rungs))
    assert all(later / earlier < 1.4 for earlier, later in zip(rungs, rungs[1:], strict=False))


def test_round_deadlines_are_written_without_noise():
    assert {0.1, 0.2, 0.5, 1.0, 2.0, 5.0} <= set(deadline_ladder(0.1, 9.0))


def test_orders_depend_on_the_problem_and_the_seed_alone():
    assert (random_orders("p", 8, 5, 0) == random_orders("p", 8, 5, 0)).all()
    assert (random_orders("p", 8, 5, 0) != random_orders("q", 8, 5, 0)).any()
    assert (random_orders("p", 8, 5, 0) != random_orders("p", 8, 5, 1)).any()
    assert (np.sort(random_orders("p", 8, 5, 0), axis=1) == np.arange(8)).all()
