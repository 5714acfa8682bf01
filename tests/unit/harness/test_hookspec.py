"""Every hook, exercised through the example in its documentation: called, its spec found, its factory used."""

import re
import types
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import timetrial
from timetrial.catalog import open_catalog
from timetrial.error import UsageError
from timetrial.manager import PluginSettings
from timetrial.testing import EchoModel, FakeClock, FakePlugin, GraderContract

HOOKS = Path(__file__).parents[3] / "docs" / "hooks.md"


def catalog_of_example(hook):
    """A catalog over nothing but the example in the section of a hook."""
    section = re.search(rf"^## `{hook}\(.*?(?=^## |\Z)", HOOKS.read_text(), re.DOTALL | re.MULTILINE).group()
    (example,) = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    module = types.ModuleType("example")
    exec(example, vars(module))
    return open_catalog([FakePlugin("example", module)], settings=PluginSettings(), clock=FakeClock())


def test_timetrial_models_offers_a_family_that_recognises_and_loads_its_checkpoints(tmp_path):
    catalog = catalog_of_example("timetrial_models")
    spec = catalog.family_of({"model_type": "echo"})
    assert spec is catalog.model("echo")
    assert isinstance(spec.load(tmp_path, timetrial.LoadOptions()), timetrial.Model)


def test_timetrial_tasks_offers_a_task_that_loads_and_refuses_what_it_cannot_read():
    spec = catalog_of_example("timetrial_tasks").task("repeat")
    assert isinstance(spec.load(None), timetrial.Task)
    with pytest.raises(UsageError, match="leave --data out"):
        spec.load(Path("problems.jsonl"))


def test_timetrial_aggregators_offers_an_aggregator_that_chooses():
    aggregator = catalog_of_example("timetrial_aggregators").aggregator("best").make()
    chosen = aggregator.choose(np.array([[2, -1, 1], [-1, -1, -1]]), np.array([[0.1, 0.9, 0.5], [0.1, 0.2, 0.3]]))
    assert chosen.tolist() == [1, -1]


def test_timetrial_reward_models_offers_a_reward_model_that_loads_and_refuses_what_it_cannot_find():
    spec = catalog_of_example("timetrial_reward_models").reward_model("brevity")
    assert isinstance(spec.load(None, timetrial.LoadOptions()), timetrial.RewardModel)
    with pytest.raises(UsageError, match="leave :large out"):
        spec.load("large", timetrial.LoadOptions())


def test_timetrial_engines_offers_an_engine_that_runs_what_it_says_and_gives_reasons_for_the_rest():
    spec = catalog_of_example("timetrial_engines").engine("again")
    own = EchoModel()
    given = timetrial.EngineInput(family="echo", config={}, folder=None, own=own, options=timetrial.LoadOptions())
    assert spec.why_not("echo") is None and "llama" in spec.why_not("llama")
    model = spec.load(given)
    assert isinstance(model, timetrial.TimedModel)
    assert model.decode_timing(1, 2, 3, clock=FakeClock(), seed=0).decode_s > 0


class TestVerbatim(GraderContract):
    @pytest.fixture
    def grader(self):
        return catalog_of_example("timetrial_graders").grader("verbatim").load()


def test_timetrial_graders_offers_a_grader_that_loads_and_judges():
    grader = catalog_of_example("timetrial_graders").grader("verbatim").load()
    assert isinstance(grader, timetrial.Grader)
    assert grader.grade("(1, 2)", "(1,2)").correct and not grader.grade("0.5", "1/2").correct


def test_timetrial_checkpoints_offers_a_checkpoint_by_a_short_name():
    spec = catalog_of_example("timetrial_checkpoints").checkpoint("llama-8b")
    assert (spec.location, spec.family, spec.temperature) == ("meta-llama/Llama-3.1-8B-Instruct", "llama", 0.8)


def test_timetrial_commands_offers_a_command_that_runs():
    command = catalog_of_example("timetrial_commands").command("hello").load()
    result = CliRunner().invoke(command)
    assert (result.exit_code, result.output) == (0, "Hello from a plugin.\n")
