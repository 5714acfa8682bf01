"""Contracts that every plugin must keep, as pytest classes to subclass, and fakes to test plugins with.

    class TestMine(timetrial.testing.TaskContract):
        @pytest.fixture
        def task(self):
            return MyTask()

Needs the extra `timetrial[testing]`. Every assert says what was expected, because pytest rewrites asserts in test
modules only; `pytest.register_assert_rewrite("timetrial.testing")` in a conftest.py shows the values as well.
"""

from timetrial.testing.aggregator import AggregatorContract
from timetrial.testing.fake import (
    EchoModel,
    FakeClock,
    FakeDistribution,
    FakeGrader,
    FakePlugin,
    FakeRewardModel,
    FakeTask,
    FakeTokenizer,
)
from timetrial.testing.grader import GraderContract
from timetrial.testing.model import ModelContract
from timetrial.testing.reward_model import RewardModelContract
from timetrial.testing.task import TaskContract

__all__ = [
    "AggregatorContract",
    "EchoModel",
    "FakeClock",
    "FakeDistribution",
    "FakeGrader",
    "FakePlugin",
    "FakeRewardModel",
    "FakeTask",
    "FakeTokenizer",
    "GraderContract",
    "ModelContract",
    "RewardModelContract",
    "TaskContract",
]
