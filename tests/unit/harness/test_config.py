"""The run's configuration: refused values, what may change between two commands, its JSON form."""

from dataclasses import replace

import pytest

from timetrial.config import (
    RunConfig,
    TimingGrid,
    config_difference,
    config_from_json,
    config_to_json,
    data_file,
    run_name,
)
from timetrial.error import UnknownNameError, UsageError
from timetrial.presets import preset

BASE = RunConfig(
    models=("m",), tasks=("t",), samples=4, temperatures=(0.8,), data=(("t", "f.jsonl"),), grid=TimingGrid()
)


def test_a_config_survives_json():
    assert config_from_json(config_to_json(BASE)) == BASE
    assert config_from_json(config_to_json(replace(BASE, grid=None))) == replace(BASE, grid=None)


@pytest.mark.parametrize(("stored", "lengths"), [(512, (512,)), (None, ()), ([8, 16], (8, 16))])
def test_a_grid_from_before_there_were_several_prompt_lengths_is_read(stored, lengths):
    timed = RunConfig(models=("m",), grid=TimingGrid())
    data = config_to_json(timed)
    del data["random_weights"], data["baseline"]
    data["grid"]["prompt_tokens"] = stored
    assert config_from_json(data) == replace(timed, grid=TimingGrid(prompt_tokens=lengths))


def test_random_weights_and_checkpoints_are_never_one_run():
    timed = RunConfig(models=("m",), grid=TimingGrid())
    assert config_difference(timed, replace(timed, random_weights=True))
    assert run_name(timed) != run_name(replace(timed, random_weights=True))
    assert run_name(timed) == run_name(replace(timed, baseline="m"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": ()}, "no model given"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": -3}, "samples is -3"),
        ({"temperatures": (-0.1,)}, "temperature is -0.1"),
        ({"temperatures": (float("nan"),)}, "temperature is nan"),
        ({"temperatures": (0.8, 0.8)}, "given 2 times"),
        ({"models": ("m", "m")}, "model 'm' is given 2 times"),
        ({"top_p": 0.0}, "top-p is 0.0"),
        ({"top_p": 1.1}, "top-p is 1.1"),
        ({"top_k": 0}, "top-k"),
        ({"max_tokens": 0}, "max tokens is 0"),
        ({"limit": 0}, "limit is 0"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"budget_s": 0.0}, "budget is 0.0"),
        ({"budget_s": float("inf")}, "budget is inf"),
        ({"baseline": "n"}, "unknown baseline 'n'"),
        ({"random_weights": True}, "can be timed, not sampled"),
        ({"gamma": -0.5}, "gamma is -0.5: expected 0"),
        ({"gamma": float("inf")}, "its limit is best-of-n"),
        ({"grid": TimingGrid(prompt_tokens=(8, 16))}, "2 are given"),
        ({"state_interval": 0}, "state interval is 0: expected 1"),
        ({"state_interval": 3, "grid": TimingGrid(new_tokens=8)}, "new tokens is 8, .* every 3 steps: expected a mul"),
    ],
)
def test_values_that_make_no_run_are_refused_by_name(change, said):
    with pytest.raises(UsageError, match=said):
        replace(BASE, **change)


def test_scores_of_another_reward_model_and_other_uses_of_scores_go_on_in_the_same_run():
    other = replace(BASE, reward_model="prm", reduction="min", gamma=2.0)
    assert config_difference(BASE, other) == []
    assert run_name(other) == run_name(BASE)


def test_an_unknown_reduction_gets_the_closest_match():
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        replace(BASE, reduction="meen")


@pytest.mark.parametrize("change", [{"batches": (0,)}, {"repeats": 0}, {"warmups": 0}, {"prompt_tokens": (0,)}])
def test_a_grid_that_cannot_be_measured_is_refused(change):
    with pytest.raises(UsageError):
        TimingGrid(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 64},
        {"models": ("m", "other")},
        {"tasks": ("t", "u")},
        {"temperatures": (0.8, 1.0)},
        {"batch_size": 7},
        {"grid": None},
        {"device": "cpu"},
        {"budget_s": 3.0},
        {"aggregators": ("majority",)},
    ],
)
def test_a_run_may_grow_and_be_run_differently(change):
    assert config_difference(BASE, replace(BASE, **change)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 2}, "samples: the run has 4, asked for 2"),
        ({"models": ("other",)}, "models"),
        ({"temperatures": (1.0,)}, "temperatures"),
        ({"temperatures": ()}, "temperatures"),
        ({"seed": 1}, "seed: the run has 0, asked for 1"),
        ({"top_p": 0.9}, "top_p"),
        ({"max_tokens": 10}, "max_tokens"),
        ({"limit": 3}, "limit"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"state_interval": 16}, "state_interval: the run has 1, asked for 16"),
        ({"data": (("t", "g.jsonl"),)}, "data"),
    ],
)
def test_a_change_that_would_mix_samples_is_shown(change, said):
    (difference,) = config_difference(BASE, replace(BASE, **change))
    assert said in difference


def test_recommended_temperatures_are_not_extended_by_explicit_ones():
    assert config_difference(replace(BASE, temperatures=()), BASE)


def test_growing_a_run_keeps_its_default_folder():
    assert run_name(BASE) == run_name(replace(BASE, samples=64, batch_size=1))
    assert run_name(BASE) == run_name(replace(BASE, grader="a", second_opinion="b")), "the samples are the same"
    assert run_name(BASE) != run_name(replace(BASE, seed=1))
    assert "/" not in run_name(replace(BASE, models=("org/name@main",)))


def test_a_preset_holds_the_papers_values():
    assert preset("paper-1b")["temperatures"] == (0.6,)
    assert preset("paper-3b") == {"top_p": 1.0, "top_k": -1, "max_tokens": 2048, "temperatures": (0.8,)}
    with pytest.raises(UnknownNameError, match="paper-3b"):
        preset("paper-3")


def test_the_data_folder_is_read_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("TIMETRIAL_DATA", raising=False)
    assert data_file("x.jsonl") is None
    monkeypatch.setenv("TIMETRIAL_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=r"no file x\.jsonl"):
        data_file("x.jsonl")
    (tmp_path / "x.jsonl").write_text("")
    assert data_file("x.jsonl") == tmp_path / "x.jsonl"
