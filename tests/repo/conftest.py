"""What the tests of the repository look at: its product code, as paths and as syntax trees."""

import ast
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("registry", "harness", "plugins", "distillation")


class Source(NamedTuple):
    path: Path
    """Relative to the repository."""
    text: str
    tree: ast.Module

    @property
    def package(self):
        return self.path.parts[1]


@pytest.fixture(scope="session")
def repository():
    return ROOT


@pytest.fixture(scope="session")
def sources():
    """Every Python file of the four packages."""
    paths = [path for root in SOURCE_ROOTS for path in sorted((ROOT / root).rglob("*.py"))]
    assert len(paths) > 50
    texts = [(path.relative_to(ROOT), path.read_text(encoding="utf-8")) for path in paths]
    return [Source(path, text, ast.parse(text, str(path))) for path, text in texts]


@pytest.fixture(scope="session")
def built_in_plugins():
    """The entry points of pyproject.toml, name to module."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["entry-points"]["timetrial"]
