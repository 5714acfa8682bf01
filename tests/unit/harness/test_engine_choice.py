"""Which engines time a model, what happens where one cannot, and that own and other engines take turns."""

import json
from types import SimpleNamespace

import pytest

from timetrial.catalog import open_catalog
from timetrial.config import RunConfig, TimingGrid, config_from_json, config_to_json
from timetrial.engines import EngineSpec, TimedModel
from timetrial.error import PluginError, UnknownNameError, UsageError
from timetrial.hookspec import hookimpl
from timetrial.manager import PluginSettings
from timetrial.protocol import OutOfMemory
from timetrial.record import Timing
from timetrial.runner import Surroundings, run
from timetrial.spec import ModelSpec
from timetrial.stages.derive import current_timings
from timetrial.stages.report import gather_report
from timetrial.store import RunFolder
from timetrial.testing import EchoModel, FakeClock, FakePlugin


class Slow(EchoModel):
    """An engine under which a model takes three readings of the clock more, and no batch above 2 fits."""

    @property
    def description(self):
        return {"kernels": "slow and eager"}

    def decode_timing(self, batch, prompt_tokens, new_tokens, *, clock, seed):
        if batch > 2:
            raise OutOfMemory
        times = super().decode_timing(batch, prompt_tokens, new_tokens, clock=clock, seed=seed)
        return type(times)(prefill_s=times.prefill_s, decode_s=4 * times.decode_s)


@pytest.fixture
def given():
    return []


@pytest.fixture
def surroundings(given):
    """A catalog with two families of random weights and an engine that runs the first of them."""

    def load(engine_input):
        given.append(engine_input)
        return Slow()

    @hookimpl
    def timetrial_models():
        return [
            ModelSpec(
                family=family,
                load=lambda folder, options: EchoModel(),
                doc="x",
                recognises=lambda config, family=family: config.get("model_type") == family,
                build_random=lambda config, options: EchoModel(),
            )
            for family in ("echo", "parrot")
        ]

    @hookimpl
    def timetrial_engines():
        def why_not(family):
            return None if family == "echo" else f"no {family} here"

        return [EngineSpec(name="slow", load=load, doc="x", why_not=why_not)]

    hooks = SimpleNamespace(timetrial_models=timetrial_models, timetrial_engines=timetrial_engines, __name__="fakes")
    catalog = open_catalog([FakePlugin("fakes", hooks)], settings=PluginSettings(), clock=FakeClock())
    return Surroundings(catalog=catalog, clock_for=lambda model: FakeClock())


@pytest.fixture
def folders(tmp_path):
    paths = {}
    for family in ("echo", "parrot"):
        (tmp_path / family).mkdir()
        (tmp_path / family / "config.json").write_text(json.dumps({"model_type": family, "size": 3}))
        paths[family] = str(tmp_path / family)
    return paths


def config(models, **changes):
    grid = TimingGrid(batches=(1, 2, 4), prompt_tokens=(3,), new_tokens=2, repeats=4)
    fields = {
        "models": tuple(models),
        "aggregators": (),
        "random_weights": True,
        "grid": grid,
        "engines": ("own", "slow"),
    }
    return RunConfig(**(fields | changes))


def test_own_and_other_engines_take_turns_and_each_has_its_own_memory_limit(tmp_path, folders, surroundings, given):
    done = run(config([folders["echo"]]), tmp_path / "run", surroundings=surroundings)
    rows = list(done.folder.read(Timing))
    timed = [row for row in rows if not row.is_warmup]
    cells = sorted({(row.engine, row.batch) for row in timed})
    assert cells == [("own", 1), ("own", 2), ("own", 4), ("slow", 1), ("slow", 2)]
    assert len(timed) == 5 * 4
    assert [(row.engine, row.batch) for row in rows if row.status == "out_of_memory"] == [("slow", 4)]
    order = [row.engine for row in timed]
    assert order != sorted(order), "neither engine has a part of the run for itself"
    assert {row.kernels for row in rows if row.engine == "slow"} == {"slow and eager"}
    assert {(row.step_bytes, row.step_flops) for row in rows if (row.engine, row.batch) == ("slow", 2)} == {
        (row.step_bytes, row.step_flops) for row in rows if (row.engine, row.batch) == ("own", 2)
    }, "the work is the same"
    (engine_input,) = given
    assert (engine_input.family, engine_input.folder) == ("echo", None)
    assert engine_input.config == {"model_type": "echo", "size": 3} and isinstance(engine_input.own, EchoModel)


def test_an_engine_can_be_added_to_a_run_later_and_only_it_is_timed_then(tmp_path, folders, surroundings):
    own = config([folders["echo"]], engines=("own",))
    first = list(run(own, tmp_path / "run", surroundings=surroundings).folder.read(Timing))
    both = list(run(config([folders["echo"]]), tmp_path / "run", surroundings=surroundings).folder.read(Timing))
    assert both[: len(first)] == first
    assert {row.engine for row in both[len(first) :]} == {"slow"}
    assert list(run(own, tmp_path / "run", surroundings=surroundings).folder.read(Timing)) == both


def test_a_model_that_an_engine_cannot_run_is_timed_on_the_others_and_the_reason_is_kept(
    tmp_path, folders, surroundings
):
    models = [folders["echo"], folders["parrot"]]
    done = run(config(models), tmp_path / "run", surroundings=surroundings)
    assert {row.engine for row in done.folder.read(Timing) if row.model == folders["parrot"]} == {"own"}
    (entry,) = done.folder.read_json("environment.json").values()
    assert entry["engines"] == {
        "slow": {folders["echo"]: {"kernels": "slow and eager"}, folders["parrot"]: {"why_not": "no parrot here"}}
    }
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "not timed: no parrot here" in page


def test_engines_none_of_which_runs_any_model_are_refused_before_anything_is_loaded(
    tmp_path, folders, surroundings, given
):
    with pytest.raises(UsageError, match="can run any of the models.*no parrot here"):
        run(config([folders["parrot"]], engines=("slow",)), tmp_path / "run", surroundings=surroundings)
    assert not (tmp_path / "run").exists() and not given


def test_an_unknown_engine_is_refused_with_the_closest(tmp_path, folders, surroundings):
    with pytest.raises(UnknownNameError, match="did you mean 'slow'.*timetrial engines"):
        run(config([folders["echo"]], engines=("slowly",)), tmp_path / "run", surroundings=surroundings)


def test_an_engine_that_breaks_is_named_with_its_plugin(tmp_path, folders, surroundings):
    offer = surroundings.catalog.engines()["slow"]

    def breaks(given):
        raise ZeroDivisionError("boom")

    object.__setattr__(offer.spec, "load", breaks)
    with pytest.raises(PluginError, match="engine 'slow'.*ZeroDivisionError: boom"):
        run(config([folders["echo"]]), tmp_path / "run", surroundings=surroundings)


@pytest.mark.parametrize(("fields", "said"), [
    ({"engines": ()}, "no engine given"),
    ({"engines": ("own", "own")}, "engine 'own' is given 2 times"),
    ({"tasks": ("t",), "samples": 1, "random_weights": False}, "compare engines with `timetrial time`"),
])  # fmt: skip
def test_engines_that_make_no_run_are_refused(fields, said):
    with pytest.raises(UsageError, match=said):
        config(["m"], **fields)


def test_a_config_from_before_there_were_engines_means_the_own_one():
    data = config_to_json(config(["m"]))
    assert config_from_json(data) == config(["m"])
    del data["engines"]
    assert config_from_json(data).engines == ("own",)


def test_the_seconds_of_k_samples_come_from_the_engine_that_samples(tmp_path, folders, surroundings):
    done = run(config([folders["echo"]]), tmp_path / "run", surroundings=surroundings)
    assert {row.engine for row in current_timings(done.folder, done.config.grid)} == {"own"}
    assert {row.engine for row in gather_report(RunFolder(done.path)).timings} == {"own", "slow"}


def test_every_model_is_one_that_can_be_timed():
    assert isinstance(EchoModel(), TimedModel) and isinstance(Slow(), TimedModel)
