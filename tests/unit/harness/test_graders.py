"""Graders by name: found, loaded once for all tasks, and refused with the closest match."""

from types import SimpleNamespace

import pytest

import timetrial
from timetrial.catalog import open_catalog
from timetrial.error import PluginError, UnknownNameError, UsageError
from timetrial.graders import load_graders
from timetrial.stages.judge import Graders
from timetrial.testing import FakeGrader, FakePlugin, FakeTask


class Other(FakeGrader):
    name = "other/3"


def catalog(**loaders):
    """A catalog that offers graders, each with the function that loads it."""

    @timetrial.hookimpl
    def timetrial_graders():
        return [timetrial.GraderSpec(name=name, load=load, doc="") for name, load in loaders.items()]

    plugin = SimpleNamespace(timetrial_graders=timetrial_graders, __name__="fakes")
    return open_catalog([FakePlugin("fakes", plugin)])


def must_not_load():
    raise AssertionError("loaded although another name is wrong")


def test_without_names_every_task_grades_itself_and_nothing_is_loaded():
    named = load_graders(None, None, catalog(other=must_not_load))
    task = FakeTask()
    assert named.of(task) == Graders(grader=task.grader)
    assert named.origins == ()


def test_named_graders_are_loaded_once_for_all_tasks_and_keep_their_origin():
    loaded = []

    def load():
        loaded.append(Other())
        return loaded[-1]

    named = load_graders("other", None, catalog(other=load))
    assert named.of(FakeTask()).grader is named.of(FakeTask()).grader is loaded[0]
    assert len(loaded) == 1
    assert [origin.plugin for origin in named.origins] == ["fakes"]
    second = load_graders(None, "other", catalog(other=load)).of(FakeTask())
    assert (second.grader.name, second.second_opinion.name) == ("fake-integer/1", "other/3")


@pytest.mark.parametrize("names", [("othr", None), (None, "othr"), ("other", "othr")])
def test_an_unknown_grader_is_refused_with_the_closest_one_before_any_is_loaded(names):
    with pytest.raises(UnknownNameError, match=r"unknown grader 'othr': did you mean 'other'\?.*timetrial graders"):
        load_graders(*names, catalog(other=must_not_load))


def test_a_grader_gives_no_second_opinion_on_itself():
    with pytest.raises(UsageError, match="which grades already"):
        load_graders("other", "other", catalog(other=must_not_load))


def test_a_grader_that_lacks_a_package_says_so_itself_and_any_other_failure_names_its_plugin():
    def lacks():
        raise UsageError("install timetrial[other]")

    def breaks():
        raise ImportError("no module named other")

    with pytest.raises(UsageError, match="install"):
        load_graders(None, "other", catalog(other=lacks))
    with pytest.raises(PluginError, match="grader 'other' of plugin 'fakes'.*no module named other"):
        load_graders(None, "other", catalog(other=breaks))
