"""Every installed grader keeps the contract of graders, if the packages it needs are installed."""

import pytest

from timetrial.error import UsageError
from timetrial.testing import GraderContract

KIND = "graders"


@pytest.fixture(scope="module")
def installed(name, catalog):
    try:
        return catalog.grader(name).load()
    except UsageError as error:
        pytest.skip(f"grader {name}: {error}")


class TestInstalledGrader(GraderContract):
    @pytest.fixture
    def grader(self, installed):
        return installed
