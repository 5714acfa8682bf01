"""Every installed task keeps the contract of tasks, if its data is on this machine."""

import os
from pathlib import Path

import pytest

from timetrial.config import DATA_VARIABLE
from timetrial.error import TimetrialError
from timetrial.testing import TaskContract

KIND = "tasks"
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def installed(name, catalog, tmp_path_factory):
    """The task, its data from the data folder that is set or lies beside the repository; never from the net."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get(DATA_VARIABLE):
            patch.setenv(DATA_VARIABLE, str(DATA if DATA.is_dir() else tmp_path_factory.mktemp("empty")))
        try:
            task = catalog.task(name).load(None)
            task.problems()  # this is where the data is read
        except TimetrialError as error:
            pytest.skip(f"task {name}: {error}")
        yield task


class TestInstalledTask(TaskContract):
    @pytest.fixture
    def task(self, installed):
        return installed
