"""What gets installed: from a wheel and in editable mode, four packages, their data and the entry points.

Environments are bare, and see the libraries of this one through a path file, so nothing is downloaded.
"""

import ast
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

PACKAGES = {"timetrial", "timetrial_registry", "timetrial_plugins", "timetrial_distillation"}
REPORT = """
import importlib.metadata, json, timetrial
points = importlib.metadata.entry_points(group="timetrial")
print(json.dumps({
    "version": importlib.metadata.version("timetrial"),
    "file": timetrial.__file__,
    "points": sorted(point.name for point in points if point.dist.name == "timetrial"),
}))
"""


def check(*command, **options):
    run = subprocess.run(command, capture_output=True, text=True, **options)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def version(repository):
    tree = ast.parse((repository / "harness/timetrial/__init__.py").read_text())
    return next(
        node.value.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"
    )


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    check(*pip, "wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder, repository)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def editable_wheel(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("editable")
    code = f"from hatchling.build import build_editable; build_editable({str(folder)!r})"
    check(sys.executable, "-c", code, cwd=repository)
    (built,) = folder.glob("*.whl")
    return built


def install(built, folder):
    """Install a wheel into a new environment and return its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = next((folder / "bin").glob("python")) if os.name != "nt" else folder / "Scripts" / "python.exe"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    check(*pip, "install", "--no-deps", "--no-index", "--quiet", built)
    # Only now, so that pip did not take this environment's timetrial for an older one. Path files in it are not read.
    site = Path(check(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return python


def report(python, folder):
    return json.loads(check(python, "-c", REPORT, cwd=folder))


def test_the_wheel_holds_four_packages_their_data_and_nothing_else(wheel, repository):
    names = zipfile.ZipFile(wheel).namelist()
    info = f"timetrial-{version(repository)}.dist-info"
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, info}
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert f"{info}/entry_points.txt" in names and f"{info}/licenses/LICENSE" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "results"))]


def test_the_wheel_holds_every_file_of_the_packages_that_git_knows(wheel, repository):
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout")
    known = check("git", "ls-files", "registry", "harness", "plugins", "distillation", cwd=repository).splitlines()
    names = set(zipfile.ZipFile(wheel).namelist())
    assert [name for name in known if name.partition("/")[2] not in names] == []


def test_the_wheel_holds_the_shipped_model_and_problems(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    nutshell = [name for name in names if name.startswith("timetrial_plugins/nutshell/")]
    assert [name for name in nutshell if name.endswith("/model.safetensors")]
    assert [name for name in nutshell if name.endswith("/tokenizer.json")]


@pytest.mark.parametrize("kind", ["wheel", "editable_wheel"])
def test_an_installation_works_from_anywhere(kind, request, tmp_path, repository, built_in_plugins):
    python = install(request.getfixturevalue(kind), tmp_path / "environment")
    facts = report(python, tmp_path)
    assert facts["version"] == version(repository)
    assert facts["points"] == sorted(built_in_plugins)
    assert (repository in Path(facts["file"]).parents) == (kind == "editable_wheel")
    listed = json.loads(check(python, "-m", "timetrial", "plugins", "--json", cwd=tmp_path))
    usable = {info["origin"]["plugin"] for info in listed if info["error"] is None and info["offers"]}
    assert usable >= set(facts["points"])
    command = tmp_path / "environment" / "bin" / "timetrial"
    assert version(repository) in check(command, "--version", cwd=tmp_path)


def test_the_source_distribution_holds_what_tests_and_builds_need_and_no_results(repository, tmp_path):
    code = f"from hatchling.build import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    archive = tmp_path / check(sys.executable, "-c", code, cwd=repository).strip()
    parts = [name.split("/")[1:] for name in tarfile.open(archive).getnames()]
    held = {name[0] for name in parts if name}
    assert held >= {"registry", "harness", "plugins", "distillation", "tests", "docs", "pyproject.toml", "LICENSE"}
    assert "results" not in held and ".venv" not in held
