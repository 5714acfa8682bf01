"""Loading plugins: everything that plain pluggy lets through is refused, with the plugin, its origin and the cause."""

import importlib.metadata
import types

import pluggy
import pytest

from timetrial.error import UnknownNameError, UsageError
from timetrial.hookspec import hookimpl
from timetrial.manager import PluginSettings, load_plugins
from timetrial.testing import FakeClock, FakeDistribution, FakePlugin


@hookimpl
def timetrial_models():
    return []


def plugin(name="mine", distribution="timetrial-mine", version="1.2", **members):
    module = types.ModuleType(f"{name}_module")
    vars(module).update(members or {"timetrial_models": timetrial_models})
    return FakePlugin(name, module, FakeDistribution(distribution, version))


def load(*points, disabled=(), is_traced=False, clock=None):
    settings = PluginSettings(disabled=disabled, is_traced=is_traced)
    return load_plugins(points, settings, clock or FakeClock())


def refusal(*points, **options):
    """The message of the first plugin, which must have been refused and left out."""
    loaded = load(*points, **options)
    assert loaded.manager.get_plugin(points[0].name) is None
    assert loaded.plugins[0].fault is not None
    return str(loaded.plugins[0].fault)


def test_a_good_plugin_is_registered_under_its_name_with_its_origin():
    point = plugin()
    loaded = load(point)
    assert loaded.manager.get_plugin("mine") is point.plugin
    (only,) = loaded.plugins
    assert (only.origin.plugin, only.origin.distribution, only.origin.version) == ("mine", "timetrial-mine", "1.2")
    assert only.fault is None and not only.is_disabled


def test_every_load_is_timed_on_the_given_clock():
    loaded = load(plugin("a"), plugin("b"), clock=FakeClock(step_s=0.25))
    assert [one.load_s for one in loaded.plugins] == [0.25, 0.25]


def test_two_managers_share_nothing():
    first, second = load(plugin("a")), load(plugin("b"))
    assert first.manager.has_plugin("a") and not second.manager.has_plugin("a")


@pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError("No module named 'absent'"), SyntaxError("bad"), RuntimeError("at import"), SystemExit(1)],
    ids=lambda error: type(error).__name__,
)
def test_a_broken_import_names_plugin_distribution_version_cause_and_the_way_around(error):
    message = refusal(FakePlugin("mine", error, FakeDistribution("timetrial-mine", "1.2")))
    for part in ("'mine'", "timetrial-mine", "1.2", type(error).__name__, str(error)):
        assert part in message
    assert "TIMETRIAL_DISABLED_PLUGINS=mine" in message


def test_the_cause_of_a_broken_import_is_chained():
    error = RuntimeError("at import")
    assert load(FakePlugin("mine", error)).plugins[0].fault.__cause__ is error


def test_one_plugin_name_in_two_distributions_refuses_both_and_names_them():
    loaded = load(plugin(distribution="timetrial-one"), plugin(distribution="timetrial-two"))
    assert not loaded.manager.get_plugins()
    for one in loaded.plugins:
        assert "timetrial-one 1.2 and timetrial-two 1.2" in str(one.fault)


def test_one_module_under_two_names_is_refused():
    first = plugin("first")
    loaded = load(first, FakePlugin("second", first.plugin))
    assert loaded.manager.has_plugin("first") and not loaded.manager.has_plugin("second")
    assert "is already plugin 'first'" in str(loaded.plugins[1].fault)


def test_a_hook_with_a_wrong_argument_is_refused():
    @hookimpl
    def timetrial_models(config):
        return []

    message = refusal(plugin(timetrial_models=timetrial_models))
    assert "timetrial_models" in message and "config" in message and "hookspec" in message


def test_a_misspelt_hook_is_refused_with_the_closest_one():
    @hookimpl
    def timetrial_model():
        return []

    message = refusal(plugin(timetrial_model=timetrial_model))
    assert "unknown hook timetrial_model; did you mean timetrial_models?" in message


def test_a_hook_that_resembles_none_is_refused_with_all_of_them():
    @hookimpl
    def configure():
        return []

    assert "timetrial_reward_models" in refusal(plugin(configure=configure))


def test_a_misspelt_hook_of_one_plugin_does_not_touch_another():
    @hookimpl
    def timetrial_model():
        return []

    loaded = load(plugin("bad", timetrial_model=timetrial_model), plugin("good"))
    assert [one.fault is None for one in loaded.plugins] == [False, True]


def test_a_plugin_without_a_hook_is_refused():
    message = refusal(plugin(helper=len))
    assert "implements no hook; is @timetrial.hookimpl missing?" in message


def test_an_entry_point_that_is_none_is_refused():
    assert "implements no hook" in refusal(FakePlugin("mine", None))


def test_a_forgotten_marker_is_refused_although_another_hook_is_marked():
    def timetrial_tasks():
        return []

    message = refusal(plugin(timetrial_models=timetrial_models, timetrial_tasks=timetrial_tasks))
    assert "timetrial_tasks is not marked" in message


@pytest.mark.parametrize("kind", ["wrapper", "hookwrapper"])
def test_a_wrapping_hook_is_refused(kind):
    @hookimpl(**{kind: True})
    def timetrial_models():
        yield

    assert "timetrial_models is a wrapper" in refusal(plugin(timetrial_models=timetrial_models))


def test_an_optional_hook_of_a_newer_version_is_let_through_beside_a_known_one():
    @hookimpl(optionalhook=True)
    def timetrial_kernels():
        return []

    loaded = load(plugin(timetrial_models=timetrial_models, timetrial_kernels=timetrial_kernels))
    assert loaded.plugins[0].fault is None
    assert "implements no hook" in refusal(plugin(timetrial_kernels=timetrial_kernels))


def test_a_refused_plugin_leaves_no_hook_behind():
    @hookimpl
    def timetrial_model():
        return []

    loaded = load(plugin(timetrial_models=timetrial_models, timetrial_model=timetrial_model))
    assert loaded.manager.hook.timetrial_models.get_hookimpls() == []
    loaded.manager.check_pending()


def test_a_disabled_plugin_is_not_imported():
    loaded = load(FakePlugin("broken", RuntimeError("imported")), plugin("good"), disabled=("broken",))
    assert [(one.is_disabled, one.fault) for one in loaded.plugins] == [(True, None), (False, None)]
    assert [name for name, _ in loaded.manager.list_name_plugin()] == ["good"]


def test_a_disabled_name_that_is_no_plugin_is_refused_with_the_closest_one():
    with pytest.raises(UnknownNameError, match=r"unknown plugin 'lama': did you mean 'llama'\?.*DISABLED_PLUGINS"):
        load(plugin("llama"), disabled=("lama",))


def test_the_way_around_a_fault_keeps_what_is_disabled_already():
    message = refusal(FakePlugin("b", RuntimeError("x")), plugin("a"), disabled=("a",))
    assert "TIMETRIAL_DISABLED_PLUGINS=a,b" in message


def test_settings_come_from_the_environment():
    settings = PluginSettings.from_environment(
        {"TIMETRIAL_DISABLED_PLUGINS": " a, b,,a ", "TIMETRIAL_TRACE_PLUGINS": "1"}
    )
    assert settings == PluginSettings(disabled=("a", "b"), is_traced=True)
    assert PluginSettings.from_environment({}) == PluginSettings()
    assert PluginSettings.from_environment({"TIMETRIAL_TRACE_PLUGINS": "0"}) == PluginSettings()


def test_a_trace_value_other_than_0_and_1_is_refused():
    with pytest.raises(UsageError, match="TIMETRIAL_TRACE_PLUGINS is 'yes'"):
        PluginSettings.from_environment({"TIMETRIAL_TRACE_PLUGINS": "yes"})


def test_loads_are_traced_on_standard_error_only_if_asked(capsys):
    load(plugin("good"), FakePlugin("bad", RuntimeError("x")), is_traced=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "timetrial: plugin 'good' (distribution timetrial-mine 1.2): loaded in 1.000 s",
        "timetrial: plugin 'bad' (distribution fake 0): refused in 1.000 s",
    ]
    load(plugin("good"))
    assert capsys.readouterr().err == ""


def test_real_entry_points_of_a_distribution_can_be_loaded(tmp_path, monkeypatch):
    (tmp_path / "timetrial_real_plugin.py").write_text(
        "from timetrial.hookspec import hookimpl\n\n@hookimpl\ndef timetrial_tasks():\n    return []\n"
    )
    info = tmp_path / "timetrial_real-3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: timetrial-real\nVersion: 3.1\n")
    (info / "entry_points.txt").write_text("[timetrial]\nreal = timetrial_real_plugin\nbad = timetrial_absent\n")
    monkeypatch.syspath_prepend(tmp_path)
    (distribution,) = importlib.metadata.distributions(path=[str(tmp_path)])
    real, bad = load(*distribution.entry_points).plugins
    assert (real.origin.distribution, real.origin.version, real.fault) == ("timetrial-real", "3.1", None)
    assert "cannot import timetrial_absent: ModuleNotFoundError" in str(bad.fault)


def test_plain_pluggy_accepts_a_plugin_without_a_hook():
    """One reason for the manager: if this fails, pluggy has learnt to refuse, and the manager can shrink."""
    manager = pluggy.PluginManager("timetrial")
    manager.register(plugin(helper=len).plugin, name="without a hook")
    assert manager.get_plugins()
