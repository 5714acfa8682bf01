"""What the listings print: every grader that can be asked for by name, with what it is and from whom."""

import json
from types import SimpleNamespace

import pytest

import timetrial
from timetrial.catalog import open_catalog
from timetrial.cli import listing
from timetrial.cli.main import run_command_line
from timetrial.testing import FakeDistribution, FakeGrader, FakePlugin


@pytest.fixture
def graders(monkeypatch, capsys):
    """Run `timetrial graders` where one plugin offers two graders, or none."""

    def run(*arguments, names=("zero", "strict")):
        @timetrial.hookimpl
        def timetrial_graders():
            return [timetrial.GraderSpec(name=name, load=FakeGrader, doc=f"It is {name}.") for name in names]

        plugin = SimpleNamespace(timetrial_graders=timetrial_graders, __name__="mine")
        points = [FakePlugin("mine", plugin, FakeDistribution("my-graders", "1.2"))]
        monkeypatch.setattr(listing, "open_catalog", lambda: open_catalog(points))
        assert run_command_line(["graders", *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_graders_are_listed_for_scripts(graders):
    assert json.loads(graders("--json")) == [
        {"name": "strict", "doc": "It is strict.", "from": "my-graders 1.2"},
        {"name": "zero", "doc": "It is zero.", "from": "my-graders 1.2"},
    ]


def test_graders_are_listed_for_people(graders):
    said = graders()
    for words in ("Graders", "strict", "It is zero.", "my-graders 1.2"):
        assert words in said
    assert "none installed" in graders(names=())
