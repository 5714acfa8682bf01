"""Every installed aggregator keeps the contract of aggregators."""

import pytest

from timetrial.testing import AggregatorContract

KIND = "aggregators"


@pytest.fixture(scope="module")
def installed(name, catalog):
    return catalog.aggregator(name).make()


class TestInstalledAggregator(AggregatorContract):
    @pytest.fixture
    def aggregator(self, installed):
        return installed
