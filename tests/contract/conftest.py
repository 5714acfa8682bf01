"""The contracts run over whatever is installed: built-in plugins, and any other found in this environment."""

import functools
from pathlib import Path

import pytest

from timetrial.catalog import open_catalog
from timetrial.spec import LoadOptions

MAY_BE_MISSING = {
    "checkpoints": "no checkpoint is on this machine",
    "graders": "no plugin offers a grader by name: every task brings its own",
}


open_once = functools.cache(open_catalog)


@pytest.fixture(scope="session")
def catalog():
    return open_once()


@pytest.fixture(scope="session")
def cpu():
    """Where contracts are checked: at lower precision, the batch size decides near-ties."""
    return LoadOptions(device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def local_checkpoints(catalog):
    """The checkpoints that are on this machine without a download, by name."""
    return find_local_checkpoints(catalog)


def find_local_checkpoints(catalog):
    specs = {name: offer.spec for name, offer in catalog.checkpoints().items()}
    return {name: spec for name, spec in specs.items() if spec.location and Path(spec.location).is_dir()}


def pytest_generate_tests(metafunc):
    """Run a contract once per name that the catalog offers of the module's kind."""
    if "name" in metafunc.fixturenames:
        kind, catalog = metafunc.module.KIND, open_once()
        names = list(find_local_checkpoints(catalog) if kind == "checkpoints" else getattr(catalog, kind)())
        if not names and kind in MAY_BE_MISSING:
            names = [pytest.param("none", marks=pytest.mark.skip(MAY_BE_MISSING[kind]))]
        assert names, f"no plugin offers {kind}: is timetrial installed?"
        metafunc.parametrize("name", names, scope="module")
