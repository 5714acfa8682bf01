"""The list schedule of a busy engine: bounded by the work, equal to single batches where it must be."""

import numpy as np
import pytest

from timetrial.statistics.schedule import schedule
from timetrial.statistics.step_seconds import StepSeconds
from timetrial.statistics.subset_seconds import seconds_of

STEPS = StepSeconds(batches=(1, 2, 4, 8), fixed_s=(1.0, 1.3, 1.4, 4.0), per_token_s=(0.01, 0.02, 0.09, 0.1))


def plain_schedule(prompts, lengths, rows):
    """Walk through the steps one at a time."""
    waiting = [[prompt, length] for prompt, length in zip(prompts, lengths, strict=True) if length]
    running, seconds = [], 0.0
    while waiting or running:
        while waiting and len(running) < rows:
            running.append(waiting.pop(0))
        for row in running:
            row[0], row[1] = row[0] + 1, row[1] - 1
        fixed, per_token = STEPS.at([len(running)])
        seconds += float(fixed[0] + per_token[0] * np.mean([context for context, _ in running]))
        running = [row for row in running if row[1]]
    return seconds


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_it_takes_what_a_walk_through_its_steps_takes(rows):
    rng = np.random.default_rng(rows)
    prompts, lengths = rng.integers(0, 30, 40), rng.integers(0, 25, 40)
    made = schedule(STEPS, prompts, lengths, rows)
    assert made.seconds == pytest.approx(plain_schedule(prompts.tolist(), lengths.tolist(), rows), rel=1e-12)
    assert 0 < made.mean_rows <= rows


def test_a_single_full_batch_is_the_compact_batch():
    lengths = np.array([3, 9, 9, 1])
    made = schedule(STEPS, np.full(4, 7), lengths, 4)
    assert made.seconds == pytest.approx(seconds_of(STEPS, "compact", 7, lengths), rel=1e-12)


def test_one_row_takes_the_completions_one_after_the_other():
    made = schedule(STEPS, np.array([5, 2]), np.array([3, 4]), 1)
    assert made.seconds == pytest.approx(sum(seconds_of(STEPS, "static", p, [n]) for p, n in ((5, 3), (2, 4))))
    assert made.mean_rows == 1


def test_nothing_takes_no_time_and_rows_that_were_not_measured_are_refused():
    assert schedule(STEPS, np.array([4]), np.array([0]), 2).seconds == 0
    with pytest.raises(ValueError, match="of 1 to 8"):
        schedule(STEPS, np.array([4]), np.array([1]), 9)
