"""Every checkpoint that is on this machine keeps the contract of models, on a CPU in float32."""

from pathlib import Path

import pytest

from timetrial.testing import ModelContract

KIND = "checkpoints"


@pytest.fixture(scope="module")
def installed(name, catalog, cpu, local_checkpoints):
    spec = local_checkpoints[name]
    return catalog.model(spec.family).load(Path(spec.location), cpu)


class TestInstalledCheckpoint(ModelContract):
    @pytest.fixture
    def model(self, installed):
        return installed
