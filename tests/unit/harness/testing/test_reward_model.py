"""The fake reward model keeps the contract, and the contract catches reward models that do not."""

import numpy as np
import pytest

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
            (lambda scores: scores[1:], "5 completions gave 4"),
            (lambda scores: [() for _ in scores], "no scores for"),
            (lambda scores: [(float("nan"),) for _ in scores], "not finite floats"),
            (lambda scores: [(np.float32(1),) for _ in scores], "not finite floats"),
            (lambda scores: [*scores, (1.0,)] if not scores else scores, "no completions must give no scores"),
        ],
    )
    def test_wrong_scores_are_caught(self, change, message, problem, prompt, completions):
        with pytest.raises(AssertionError, match=message):
            self.test_it_scores_every_completion(Changed(change), problem, prompt, completions)

    @pytest.mark.parametrize(
        ("change", "message"), [(sorted, "order changes"), (lambda s: [(float(len(s)),)] * len(s), "company changes")]
    )
    def test_scores_that_depend_on_the_batch_are_caught(self, change, message, problem, prompt, completions):
        with pytest.raises(AssertionError, match=message):
            self.test_scores_do_not_depend_on_company_or_order(Changed(change), problem, prompt, completions)
