"""What plugins offer, by name: wrong offers are refused, right ones are found and keep their origin."""

import types
from dataclasses import replace
from pathlib import Path

import pytest

from timetrial.catalog import Catalog, inspect_plugins, open_catalog
from timetrial.error import CheckpointError, PluginError, UnknownNameError, UsageError
from timetrial.hookspec import hookimpl
from timetrial.manager import PluginSettings
from timetrial.spec import AggregatorSpec, CheckpointSpec, CommandSpec, GraderSpec, ModelSpec, RewardModelSpec, TaskSpec
from timetrial.testing import EchoModel, FakeClock, FakeDistribution, FakeGrader, FakePlugin, FakeRewardModel, FakeTask


def model(family, recognises=lambda config: False):
    return ModelSpec(family=family, load=lambda folder, options: EchoModel(), doc="Echo.", recognises=recognises)


def model_type(name):
    return lambda config: config.get("model_type") == name


def task(name):
    return TaskSpec(name=name, load=lambda data: FakeTask(), doc="Fake.")


EVERY_KIND = {
    "models": model("echo"),
    "tasks": task("repeat"),
    "aggregators": AggregatorSpec(name="first", make=lambda: None, doc="First."),
    "reward_models": RewardModelSpec(name="short", load=lambda ref, options: FakeRewardModel(), doc="Short."),
    "graders": GraderSpec(name="strict", load=FakeGrader, doc="Strict."),
    "checkpoints": CheckpointSpec(name="echo-1b", location="/nowhere", doc="None.", family="echo"),
    "commands": CommandSpec(name="brew", load=lambda: None, doc="Brew."),
}


def plugin(name="mine", **results):
    """A plugin whose hooks return the given results; an exception is raised."""

    def hook(result):
        def implementation():
            if isinstance(result, Exception):
                raise result
            return result

        return hookimpl(implementation)

    module = types.ModuleType(name)
    vars(module).update({f"timetrial_{kind}": hook(result) for kind, result in results.items()})
    return FakePlugin(name, module, FakeDistribution(f"timetrial-{name}", "1.2"))


def open_(*points, **settings):
    return open_catalog(points, settings=PluginSettings(**settings), clock=FakeClock())


def inspect(*points, **settings):
    return inspect_plugins(points, settings=PluginSettings(**settings), clock=FakeClock(step_s=0.5))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_of_spec_is_found_by_name_with_its_origin(kind):
    spec = EVERY_KIND[kind]
    catalog = open_(plugin(**{kind: [spec]}))
    (offer,) = getattr(catalog, kind)().values()
    assert offer.spec is spec
    assert (offer.origin.plugin, offer.origin.distribution, offer.origin.version) == ("mine", "timetrial-mine", "1.2")
    assert getattr(catalog, kind)()[offer.name] is offer
    assert getattr(catalog, kind.removesuffix("s"))(offer.name) is spec


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_an_unknown_name_is_refused_with_the_closest_one(kind):
    offer = next(iter(getattr(open_(plugin(**{kind: [EVERY_KIND[kind]]})), kind)().values()))
    catalog = open_(plugin(**{kind: [EVERY_KIND[kind]]}))
    with pytest.raises(UnknownNameError, match=f"{offer.name}x.*did you mean '{offer.name}'"):
        getattr(catalog, kind.removesuffix("s"))(f"{offer.name}x")


def test_without_plugins_a_name_is_refused_without_a_suggestion():
    with pytest.raises(UnknownNameError, match="unknown task 'math': none is installed"):
        open_().task("math")


def test_the_offers_of_several_plugins_come_together():
    catalog = open_(plugin("a", tasks=[task("x")]), plugin("b", tasks=(task("y"),), models=[model("x")]))
    assert set(catalog.tasks()) == {"x", "y"} and set(catalog.models()) == {"x"}
    assert catalog.tasks()["y"].origin.plugin == "b"


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        (None, "timetrial_tasks returned NoneType; it must return a list of TaskSpec"),
        (task("x"), "timetrial_tasks returned TaskSpec"),
        ({"x": task("x")}, "timetrial_tasks returned dict"),
        ((one for one in [task("x")]), "timetrial_tasks returned generator"),
        ([task], "timetrial_tasks returned a list that holds function"),
        ([model("x")], "timetrial_tasks returned a list that holds ModelSpec"),
        ([task("")], "timetrial_tasks offers ''"),
        ([task("a,b")], "timetrial_tasks offers 'a,b'"),
        ([task("a:b")], "timetrial_tasks offers 'a:b'"),
        ([task("a/b")], "timetrial_tasks offers 'a/b'"),
        ([task("-x")], "timetrial_tasks offers '-x'"),
        ([task(7)], "timetrial_tasks offers 7"),
        ([task("x"), task("x")], "its task 'x' is offered twice"),
        (ZeroDivisionError("oops"), "timetrial_tasks raised ZeroDivisionError: oops"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_wrong_result_is_refused_with_plugin_distribution_and_cause(result, cause):
    with pytest.raises(PluginError) as caught:
        open_(plugin(tasks=result))
    assert cause in str(caught.value)
    assert "plugin 'mine' (distribution timetrial-mine 1.2)" in str(caught.value)
    assert "TIMETRIAL_DISABLED_PLUGINS=mine" in str(caught.value)


def test_what_a_hook_raised_is_chained():
    error = ZeroDivisionError("oops")
    with pytest.raises(PluginError) as caught:
        open_(plugin(tasks=error))
    assert caught.value.__cause__ is error


def test_one_name_in_two_plugins_is_refused_and_both_are_named():
    with pytest.raises(PluginError) as caught:
        open_(plugin("a", tasks=[task("x")]), plugin("b", tasks=[task("x")]))
    assert "plugin 'a' (distribution timetrial-a 1.2): its task 'x'" in str(caught.value)
    assert "also offered by plugin 'b' (distribution timetrial-b 1.2)" in str(caught.value)


def test_one_name_for_two_kinds_is_no_conflict():
    catalog = open_(plugin(tasks=[task("x")], models=[model("x")]))
    assert catalog.task("x").name == catalog.model("x").family


def many(name, asked):
    """A spec that stands for many tasks, and notes which it was asked for."""

    def load_named(reference, data):
        asked.append((reference, data))
        return FakeTask()

    return replace(task(name), load_named=load_named)


def test_what_follows_a_colon_reaches_the_spec_that_stands_for_many_tasks():
    asked = []
    offer = open_(plugin("a", tasks=[many("x", asked)])).task_offer("x:sums:of=3")
    offer.spec.load(Path("rows.jsonl"))
    assert asked == [("sums:of=3", Path("rows.jsonl"))]
    assert (offer.name, offer.origin.plugin) == ("x:sums:of=3", "a")


def test_a_single_task_takes_nothing_after_a_colon():
    with pytest.raises(UsageError, match="unknown task 'x:sums': 'x' is a single task"):
        open_(plugin(tasks=[task("x")])).task("x:sums")


def test_a_misspelt_name_before_a_colon_offers_the_closest():
    with pytest.raises(UnknownNameError, match="unknown task 'lm-evil': did you mean 'lm-eval'"):
        open_(plugin(tasks=[many("lm-eval", [])])).task("lm-evil:gsm8k")


def test_an_aggregator_cannot_take_the_name_of_coverage():
    spec = AggregatorSpec(name="coverage", make=lambda: None, doc="No.")
    with pytest.raises(PluginError, match="a name that timetrial uses itself"):
        open_(plugin(aggregators=[spec]))


@pytest.mark.parametrize("name", ["own", "none"])
def test_a_grader_cannot_take_a_word_that_stands_for_none_being_named(name):
    with pytest.raises(PluginError, match="a name that timetrial uses itself"):
        open_(plugin(graders=[GraderSpec(name=name, load=FakeGrader, doc="No.")]))


def test_opening_tells_the_first_fault_and_counts_the_others():
    with pytest.raises(PluginError, match=r"'a'.*KeyError.* 1 more: `timetrial plugins` shows all"):
        open_(FakePlugin("a", KeyError("gone")), plugin("b", tasks=None))


def test_a_disabled_plugin_offers_nothing():
    catalog = open_(plugin("a", tasks=[task("x")]), plugin("b", tasks=[task("x")]), disabled=("b",))
    assert catalog.tasks()["x"].origin.plugin == "a"


def test_inspection_shows_the_good_the_faulty_and_the_disabled_side_by_side():
    good, broken, wrong, off = inspect(
        plugin("good", models=[model("echo")], reward_models=[EVERY_KIND["reward_models"]]),
        FakePlugin("broken", ImportError("no torch")),
        plugin("wrong", tasks=None, aggregators=[EVERY_KIND["aggregators"]]),
        plugin("off", tasks=[task("x")]),
        disabled=("off",),
    )
    assert good.offers == ("model echo", "reward model short")
    assert (good.error, good.is_disabled, good.load_s) == (None, False, 0.5)
    assert "ImportError: no torch" in broken.error and broken.offers == ()
    assert "timetrial_tasks returned NoneType" in wrong.error and wrong.offers == ()
    assert off.is_disabled and off.error is None and off.offers == ()


def test_inspection_blames_both_plugins_for_a_name_taken_twice():
    infos = inspect(plugin("a", tasks=[task("x")]), plugin("b", tasks=[task("x")]))
    assert "by plugin 'b'" in infos[0].error and "by plugin 'a'" in infos[1].error


def test_hook_calls_are_traced_with_what_they_offer(capsys):
    open_(plugin(tasks=[task("x"), task("y")]), is_traced=True)
    line = "timetrial: timetrial_tasks() of plugin 'mine' (distribution timetrial-mine 1.2): ['x', 'y']"
    assert line in capsys.readouterr().err.splitlines()


def test_the_environment_is_read_when_nothing_else_is_said(monkeypatch):
    monkeypatch.setenv("TIMETRIAL_DISABLED_PLUGINS", "mine")
    assert open_catalog([plugin(tasks=[task("x")])]).tasks() == {}
    assert inspect_plugins([plugin(tasks=[task("x")])])[0].is_disabled


def family_catalog(**recognisers) -> Catalog:
    return open_(*(plugin(name, models=[model(name, recognises)]) for name, recognises in recognisers.items()))


def test_a_checkpoint_is_recognised_by_its_one_family():
    catalog = family_catalog(llama=model_type("llama"), mamba=model_type("mamba"))
    assert catalog.family_of({"model_type": "mamba"}).family == "mamba"


def test_a_checkpoint_of_no_family_is_refused_with_what_it_says_and_what_is_installed():
    with pytest.raises(CheckpointError, match="model_type 'gpt2'.*installed: llama, mamba"):
        family_catalog(llama=model_type("llama"), mamba=model_type("mamba")).family_of({"model_type": "gpt2"})
    with pytest.raises(CheckpointError, match="neither model_type nor architectures.*installed: none"):
        open_().family_of({"n_layer": 2})


def test_a_checkpoint_of_two_families_is_refused_and_both_plugins_are_named():
    with pytest.raises(PluginError, match=r"'a' of plugin 'a' \(distribution timetrial-a 1.2\) and 'b' of plugin 'b'"):
        family_catalog(a=model_type("x"), b=model_type("x")).family_of({"model_type": "x"})


def test_a_family_that_fails_on_a_config_is_named():
    with pytest.raises(PluginError, match=r"plugin 'a' .* family 'a' failed .* KeyError: 'model_type'"):
        family_catalog(a=lambda config: config["model_type"] == "a").family_of({})
