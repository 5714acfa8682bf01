"""The plugin keeps timetrial's contracts."""

import pytest
import timetrial_example

import timetrial
from timetrial.testing import AggregatorContract, ModelContract, TaskContract


class TestQuorum(AggregatorContract):
    """The quorum is an aggregator."""

    @pytest.fixture
    def aggregator(self):
        """Return the quorum."""
        return timetrial_example.Quorum()


class TestSums(TaskContract):
    """The sums are a task."""

    @pytest.fixture
    def task(self):
        """Return the sums."""
        return timetrial_example.Sums()


class TestGuesser(ModelContract):
    """A guesser is a model."""

    @pytest.fixture
    def model(self, tmp_path):
        """Return a guesser that knows three answers."""
        timetrial_example.fit(["7", "8", "7", "9"], tmp_path)
        return timetrial_example.load(tmp_path, timetrial.LoadOptions())
