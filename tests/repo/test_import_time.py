"""`timetrial --help` and the discovery of plugins are instant, because nothing heavy is imported on the way.

Each test runs in a process of its own: this one has imported everything already.
"""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

HEAVY = ("torch", "transformers", "datasets", "matplotlib", "sympy", "pyarrow", "tokenizers", "scipy", "ray", "lm_eval")
BUILT_IN = [point for point in entry_points(group="timetrial") if point.dist.name == "timetrial"]


def heavy_imports_of(code, *names):
    """Which of the named packages a fresh interpreter has imported after running the code."""
    report = f"import sys; print([name for name in {names or HEAVY} if name in sys.modules], file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stderr.splitlines()[-1]


def test_importing_timetrial_imports_nothing_heavy_and_no_numpy():
    assert heavy_imports_of("import timetrial", *HEAVY, "numpy") == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plugins"], ["models", "--json"]])
def test_light_commands_import_nothing_heavy(arguments):
    code = f"from timetrial.cli.main import run_command_line\nassert run_command_line({arguments}) == 0"
    assert heavy_imports_of(code) == "[]"


def test_opening_the_catalog_imports_nothing_heavy():
    assert heavy_imports_of("from timetrial.catalog import open_catalog\nopen_catalog()") == "[]"


@pytest.mark.parametrize("point", BUILT_IN, ids=lambda point: point.name)
def test_the_module_of_a_built_in_plugin_imports_nothing_heavy(point):
    assert heavy_imports_of(f"import {point.module}") == "[]"


def test_the_installed_plugins_are_those_of_pyproject(built_in_plugins):
    """If this fails, entry points have changed since the installation: `pip install --editable .` again."""
    assert {point.name: point.value for point in BUILT_IN} == built_in_plugins
