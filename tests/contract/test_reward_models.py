"""Every installed reward model keeps the contract of reward models."""

import pytest

from timetrial.error import TimetrialError
from timetrial.testing import RewardModelContract

KIND = "reward_models"


@pytest.fixture(scope="module")
def installed(name, catalog, cpu, local_checkpoints):
    """The reward model by itself or, if it needs a checkpoint, with the first local one that it takes."""
    reasons = []
    for reference in (None, *local_checkpoints):
        try:
            return catalog.reward_model(name).load(reference, cpu)
        except TimetrialError as error:
            reasons.append(f"{name}:{reference}: {error}")
    pytest.skip("; ".join(reasons))


class TestInstalledRewardModel(RewardModelContract):
    @pytest.fixture
    def reward_model(self, installed):
        return installed
