"""The fake reward model keeps the contract, and the contract catches reward models that do not."""

import numpy as np
import pytest

import timetrial
from timetrial.testing import FakeRewardModel, RewardModelContract


class TestFakeRewardModel(RewardModelContract):
    @pytest.fixture
    def reward_model(self):
        return FakeRewardModel()


class Changed(FakeRewardModel):
    def __init__(self, change):
        self.change = change

    def score(self, problem, prompt, completions):
        return self.change(super().score(problem, prompt, completions))


class TestFaults(RewardModelContract):
    """Keeps the contract's problem and completions; its own checks are run on faulty reward models instead."""

    @pytest.fixture
    def reward_model(self):
        return FakeRewardModel()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda scores: scores[1:], "6 completions gave 5"),
            (lambda scores: [() for _ in scores], "no scores for"),
            (lambda scores: [(float("nan"),) for _ in scores], "not finite floats"),
            (lambda scores: [(np.float32(1),) for _ in scores], "not finite floats"),
            (lambda scores: [timetrial.Unscored(reason="who knows")] * len(scores), "a reason is"),
            (lambda scores: [*scores, (1.0,)] if not scores else scores, "no completions must give no scores"),
        ],
    )
    def test_wrong_scores_are_caught(self, change, message, problem, prompt, completions):
        with pytest.raises(AssertionError, match=message):
            self.test_it_scores_every_completion(Changed(change), problem, prompt, completions)

    @pytest.mark.parametrize(
        ("change", "message"),
        [(lambda s: [s[0]] * len(s), "order changes"), (lambda s: [(float(len(s)),)] * len(s), "company changes")],
    )
    def test_scores_that_depend_on_the_batch_are_caught(self, change, message, problem, prompt, completions):
        with pytest.raises(AssertionError, match=message):
            self.test_scores_do_not_depend_on_company_or_order(Changed(change), problem, prompt, completions)

    def test_a_score_for_nothing_is_caught(self, problem, prompt, completions):
        eager = Changed(lambda scores: [(0.0,) if isinstance(s, timetrial.Unscored) else s for s in scores])
        with pytest.raises(AssertionError, match="has no steps, so it must be Unscored"):
            self.test_a_completion_without_a_step_has_no_score(eager, problem, prompt, completions)

    def test_copies_with_different_scores_are_caught(self, problem, prompt, completions):
        numbered = Changed(lambda scores: [(float(number),) for number in range(len(scores))])
        with pytest.raises(AssertionError, match="two copies of"):
            self.test_equal_completions_get_equal_scores(numbered, problem, prompt, completions)

    def test_a_reading_that_disagrees_with_the_scores_is_caught(self, problem, prompt, completions):
        with pytest.raises(AssertionError, match="1 scores, 2 steps are read|3 scores, 2 steps are read"):
            self.test_it_reads_as_many_steps_as_it_scores(Timed(2), problem, prompt, completions)

    def test_seconds_of_another_clock_are_caught(self):
        with pytest.raises(AssertionError, match="must read the clock it is given"):
            self.test_it_is_timed_on_the_clock_it_is_given(Timed(2), 1)


class Timed(FakeRewardModel):
    """Reads the same number of steps whatever it reads, and takes a second without looking at the clock."""

    def __init__(self, num_steps):
        self.num_steps = num_steps

    def reading(self, problem, prompt, completion):
        return timetrial.Reading(num_prompt_tokens=1, num_tokens=9, num_steps=self.num_steps)

    def score_timing(self, batch, reading, *, clock, seed):
        return timetrial.ScoreTime(score_s=1.0)
