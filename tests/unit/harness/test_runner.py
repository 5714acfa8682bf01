"""A whole run with fake plugins: continued, grown, refused, timed; and what its folder records."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import timetrial
from timetrial import regrading, runner
from timetrial.catalog import open_catalog
from timetrial.compare import compare_runs
from timetrial.config import RunConfig, TimingGrid
from timetrial.error import ConfigMismatchError, PluginError, RunError, UnknownNameError, UsageError
from timetrial.rates import MachineRates
from timetrial.record import Completion, Grade, StepScores, Timing, Verdict
from timetrial.regrading import regrade_run
from timetrial.runner import Run, Surroundings, settled_grid
from timetrial.testing import EchoModel, FakeClock, FakeGrader, FakePlugin, FakeRewardModel, FakeTask


class Strict(FakeGrader):
    """Takes an answer only as it is written."""

    name = "strict/1"

    def grade(self, gold, answer):
        return Verdict(correct=gold == answer)


class Unsure(FakeTask):
    """A task whose grader, in its second version, cannot tell anything."""

    def __init__(self):
        super().__init__()
        self.grader.name = "fake-integer/2"
        self.grader.grade = lambda gold, answer: Verdict(correct=None, reason="undecided: who knows")


class RandomEcho(EchoModel):
    """Says that its weights are random."""

    description = {"family": "echo", "weights": "random"}


def measure_rates(options, clock) -> MachineRates:
    return MachineRates(bandwidths=((1, 1e9),), flops_per_s=1e9, device="cpu", dtype=options.dtype)


def make_plugin(model=EchoModel, task=FakeTask, measure=measure_rates) -> SimpleNamespace:
    """Offer the fakes through the hooks, as a plugin does."""

    @timetrial.hookimpl
    def timetrial_models():
        return [
            timetrial.ModelSpec(
                family="echo",
                load=lambda folder, options: model(),
                doc="",
                recognises=lambda config: config.get("model_type") == "echo",
                build_random=lambda config, options: RandomEcho(),
                measure_rates=measure,
            )
        ]

    @timetrial.hookimpl
    def timetrial_tasks():
        return [timetrial.TaskSpec(name="repeat", load=lambda path: task(), doc="")]

    @timetrial.hookimpl
    def timetrial_reward_models():
        return [timetrial.RewardModelSpec(name="short", load=lambda ref, options: FakeRewardModel(), doc="")]

    @timetrial.hookimpl
    def timetrial_graders():
        return [timetrial.GraderSpec(name="strict", load=Strict, doc="")]

    return SimpleNamespace(
        timetrial_graders=timetrial_graders,
        timetrial_models=timetrial_models,
        timetrial_tasks=timetrial_tasks,
        timetrial_reward_models=timetrial_reward_models,
        __name__="fakes",
    )


def surroundings(**fakes) -> Surroundings:
    import timetrial_plugins.aggregators.plugin as aggregators

    catalog = open_catalog([FakePlugin("fakes", make_plugin(**fakes)), FakePlugin("aggregators", aggregators)])
    return Surroundings(catalog=catalog, clock_for=lambda model: FakeClock())


@pytest.fixture
def checkpoint(tmp_path) -> str:
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "echo"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return str(folder)


@pytest.fixture
def config(checkpoint) -> RunConfig:
    return RunConfig(models=(checkpoint,), tasks=("repeat",), samples=4, temperatures=(1.0,))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    for module in (runner, regrading):
        monkeypatch.setattr(module, "write_run_report", lambda folder: ())


def keys(run: Run, kind) -> list:
    return sorted(record.key for record in run.folder.read(kind))


def test_every_sample_is_graded_and_scored_once_however_often_the_command_is_given(config, tmp_path):
    config = replace(config, reward_model="short")
    for _ in range(2):
        run = timetrial.run(config, tmp_path / "run", surroundings=surroundings())
        assert len(keys(run, Completion)) == 32
        assert keys(run, Completion) == keys(run, Grade) == keys(run, StepScores)
    curves = run.folder.read_json("curves.json")["curves"]
    assert {curve["rule"] for curve in curves} == {"coverage", "majority", "best-of-n", "weighted"}


def test_rules_that_need_scores_are_left_out_without_a_reward_model(config, tmp_path):
    run = timetrial.run(config, tmp_path / "run", surroundings=surroundings())
    assert {curve["rule"] for curve in run.folder.read_json("curves.json")["curves"]} == {"coverage", "majority"}


def test_a_grown_run_equals_one_made_at_once(config, tmp_path):
    for samples in (1, 3, 7):
        grown = timetrial.run(replace(config, samples=samples), tmp_path / "grown", surroundings=surroundings())
    whole = timetrial.run(replace(config, samples=7), tmp_path / "whole", surroundings=surroundings())
    assert sorted((tmp_path / "grown" / "samples.jsonl").read_text().splitlines()) == sorted(
        (tmp_path / "whole" / "samples.jsonl").read_text().splitlines()
    )
    assert grown.folder.read_json("curves.json") == whole.folder.read_json("curves.json")


def test_temperatures_models_and_tasks_can_be_added_but_not_taken_away(config, tmp_path):
    timetrial.run(config, tmp_path / "run", surroundings=surroundings())
    more = replace(config, temperatures=(1.0, 2.0))
    assert len(keys(timetrial.run(more, tmp_path / "run", surroundings=surroundings()), Completion)) == 64
    with pytest.raises(ConfigMismatchError, match="temperatures"):
        timetrial.run(config, tmp_path / "run", surroundings=surroundings())


def test_greedy_is_sampled_once(config, tmp_path):
    run = timetrial.run(replace(config, temperatures=(0.0,)), tmp_path / "run", surroundings=surroundings())
    assert len(keys(run, Completion)) == 8


def test_a_changed_checkpoint_or_task_is_refused(config, checkpoint, tmp_path):
    timetrial.run(config, tmp_path / "run", surroundings=surroundings())

    class Changed(FakeTask):
        version = "2"

    with pytest.raises(ConfigMismatchError, match="task repeat, version: the run has '1', now '2'"):
        timetrial.run(config, tmp_path / "run", surroundings=surroundings(task=Changed))
    (Path(checkpoint) / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ConfigMismatchError, match="checkpoint_sha256"):
        timetrial.run(config, tmp_path / "run", surroundings=surroundings())


def test_another_version_of_the_grader_is_refused_until_the_run_is_graded_anew(config, tmp_path):
    run = timetrial.run(config, tmp_path / "run", surroundings=surroundings())
    newer = surroundings(task=Unsure)
    said = "graded by fake-integer/1, installed is fake-integer/2.*Run `timetrial grade .*run`"
    with pytest.raises(ConfigMismatchError, match=re.compile(said, re.DOTALL)):
        timetrial.run(config, tmp_path / "run", surroundings=newer)
    assert all(grade.grader == "fake-integer/1" for grade in run.folder.read(Grade))
    regrade_run(run, newer.catalog)
    grown = timetrial.run(replace(config, samples=6), tmp_path / "run", surroundings=newer)
    grades = list(grown.folder.read(Grade))
    assert len(grades) == 48 and {grade.grader for grade in grades} == {"fake-integer/2"}


def test_graders_asked_for_by_name_grade_and_are_recorded(config, tmp_path):
    second = replace(config, second_opinion="strict")
    run = timetrial.run(second, tmp_path / "second", surroundings=surroundings(task=Unsure))
    grades = [grade for grade in run.folder.read(Grade) if grade.answer is not None]
    assert {grade.grader for grade in grades} == {"strict/1"}, "the first can tell nothing"
    assert None not in {grade.correct for grade in grades}
    assert Run.open(run.path).config.second_opinion == "strict"
    instead = timetrial.run(replace(config, grader="strict"), tmp_path / "instead", surroundings=surroundings())
    assert {grade.grader for grade in instead.folder.read(Grade)} == {"strict/1"}
    with pytest.raises(ConfigMismatchError, match="--second-opinion none`"):
        timetrial.run(config, run.path, surroundings=surroundings(task=Unsure))


def test_an_ungraded_run_may_be_continued_by_another_grader(config, tmp_path):
    run = timetrial.run(config, tmp_path / "run", surroundings=surroundings())
    (run.path / "grades.jsonl").unlink()  # as if interrupted before grading
    timetrial.run(config, tmp_path / "run", surroundings=surroundings(task=Unsure))
    assert {grade.grader for grade in run.folder.read(Grade)} == {"fake-integer/2"}


def test_seconds_are_measured_at_the_runs_own_lengths_and_stay_when_it_grows(config, tmp_path):
    config = replace(config, grid=TimingGrid(batches=(1, 2), prompt_tokens=(), new_tokens=None, repeats=2))
    run = timetrial.run(config, tmp_path / "run", surroundings=surroundings())
    (first,) = {(row.prompt_tokens, row.new_tokens) for row in run.folder.read(Timing)}
    lengths = [record.num_tokens for record in run.folder.read(Completion)]
    assert first[1] == round(sum(lengths) / len(lengths))
    grown = timetrial.run(replace(config, samples=9), tmp_path / "run", surroundings=surroundings())
    assert {(row.prompt_tokens, row.new_tokens) for row in grown.folder.read(Timing)} == {first}
    (entry,) = grown.folder.read_json("environment.json").values()
    assert entry["models"][config.models[0]]["family"] == "echo"
    curve = grown.folder.read_json("curves.json")["curves"][0]
    assert curve["seconds"] == [1.0, 1.0, 2.0, 4.0, 5.0], "a fake clock: each batch of up to 2 takes 1 s"


def test_a_runs_own_length_is_a_whole_number_of_state_intervals(config, tmp_path):
    config = replace(config, grid=TimingGrid(batches=(1,), prompt_tokens=(), new_tokens=None))
    folder = timetrial.run(replace(config, grid=None), tmp_path / "run", surroundings=surroundings()).folder
    settled = [settled_grid(folder, config.grid, interval).new_tokens for interval in (1, 3, 100)]
    lengths = [record.num_tokens for record in folder.read(Completion)]
    mean = sum(lengths) / len(lengths)
    assert settled == [round(mean), 3 * max(1, round(mean / 3)), 100]


def test_a_run_that_only_times_needs_no_task(checkpoint, tmp_path):
    grid = TimingGrid(batches=(1,), prompt_tokens=(3,), new_tokens=2, repeats=1)
    run = timetrial.run(RunConfig(models=(checkpoint,), grid=grid), tmp_path / "run", surroundings=surroundings())
    assert run.folder.read_json("curves.json") == {"curves": [], "analysis": {}}
    assert len([row for row in run.folder.read(Timing) if not row.is_warmup]) == 1


def test_a_configuration_is_timed_without_weights_and_its_rows_say_so(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "echo"}')
    config = RunConfig(
        models=(str(tmp_path),),
        random_weights=True,
        grid=TimingGrid(batches=(1, 2), prompt_tokens=(3,), new_tokens=2, repeats=1),
    )
    run = timetrial.run(config, tmp_path / "run", surroundings=surroundings(model=None))
    rows = list(run.folder.read(Timing))
    assert len(rows) == 4 and {row.weights for row in rows} == {"random"}
    assert all(row.floor_s > 0 for row in rows)
    (facts,) = run.folder.read_json("config.json")["models"].values()
    assert facts["weights"] == "random" and len(facts["config_sha256"]) == 64 and "checkpoint_sha256" not in facts
    with pytest.raises(ConfigMismatchError, match="random_weights: the run has True, asked for False"):
        (tmp_path / "model.safetensors").write_bytes(b"weights")
        timetrial.run(replace(config, random_weights=False), run.path, surroundings=surroundings())
    (tmp_path / "config.json").write_text('{"model_type": "echo", "layers": 3}')
    with pytest.raises(ConfigMismatchError, match="config_sha256"):
        timetrial.run(config, run.path, surroundings=surroundings())


def test_a_run_that_holds_nothing_yet_may_become_another(checkpoint, tmp_path):
    def refuse(options, clock):
        raise UsageError("no room")

    grid = TimingGrid(batches=(1,), prompt_tokens=(3,), new_tokens=2, repeats=1)
    config = RunConfig(models=(checkpoint,), grid=grid)
    with pytest.raises(UsageError, match="no room"):
        timetrial.run(config, tmp_path / "run", surroundings=surroundings(measure=refuse))
    smaller = replace(config, dtype="bfloat16")
    timetrial.run(smaller, tmp_path / "run", surroundings=surroundings())
    assert Run.open(tmp_path / "run").config == smaller
    with pytest.raises(ConfigMismatchError, match="dtype"):
        timetrial.run(config, tmp_path / "run", surroundings=surroundings())


def test_the_machine_is_measured_once_a_run(checkpoint, tmp_path):
    calls = []

    def measure(options, clock):
        calls.append(options)
        return measure_rates(options, clock)

    for batches in ((1,), (1, 2), (1, 2, 4)):
        grid = TimingGrid(batches=batches, prompt_tokens=(3,), new_tokens=2, repeats=1)
        config = RunConfig(models=(checkpoint,), grid=grid)
        run = timetrial.run(config, tmp_path / "run", surroundings=surroundings(measure=measure))
    assert len(calls) == 1
    (entry,) = run.folder.read_json("environment.json").values()
    assert entry["rates"]["fakes, auto, auto"]["flops_per_s"] == 1e9
    assert entry["models"][checkpoint]["family"] == "echo"


def test_a_family_that_measures_nothing_is_timed_without_floors(checkpoint, tmp_path):
    grid = TimingGrid(batches=(1,), prompt_tokens=(3,), new_tokens=2, repeats=1)
    config = RunConfig(models=(checkpoint,), grid=grid)
    run = timetrial.run(config, tmp_path / "run", surroundings=surroundings(measure=None))
    assert {(row.floor_s, row.step_bytes is None) for row in run.folder.read(Timing)} == {(None, False)}


def test_unknown_names_are_refused_before_anything_is_written(config, tmp_path):
    for change, said in [
        ({"tasks": ("repaet",)}, "repeat"),
        ({"aggregators": ("majorty",)}, "majority"),
        ({"reward_model": "shrot:x"}, "short"),
        ({"grader": "strikt"}, "strict"),
        ({"second_opinion": "strikt"}, "strict"),
        ({"models": ("ecko",)}, "folder or a Hub id"),
    ]:
        with pytest.raises(UnknownNameError, match=said):
            timetrial.run(replace(config, **change), tmp_path / "run", surroundings=surroundings())
    assert not (tmp_path / "run").exists()


def test_no_recommended_temperature_is_refused(config, tmp_path):
    with pytest.raises(UsageError, match="--temperature"):
        timetrial.run(replace(config, temperatures=()), tmp_path / "run", surroundings=surroundings())


def test_a_task_that_raises_is_blamed(config, tmp_path):
    class Broken(FakeTask):
        def problems(self):
            raise KeyError("nothing here")

    with pytest.raises(PluginError, match="task 'repeat' of plugin 'fakes'.*nothing here"):
        timetrial.run(config, tmp_path / "run", surroundings=surroundings(task=Broken))


def test_a_run_can_be_opened_and_a_folder_without_one_is_refused(config, tmp_path):
    timetrial.run(config, tmp_path / "run", surroundings=surroundings())
    assert Run.open(tmp_path / "run").config == config
    with pytest.raises(RunError, match=r"no config\.json"):
        Run.open(tmp_path)


def test_everything_a_number_depends_on_is_recorded(config, tmp_path):
    timetrial.run(replace(config, reward_model="short"), tmp_path / "run", surroundings=surroundings())
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())
    assert recorded["tasks"]["repeat"]["grading"] == {
        "grader": "fake-integer/1",
        "policy": {"leading_zeros": "do not count"},
        "second_opinion": None,
    }
    assert len(recorded["tasks"]["repeat"]["problems"]) == 8
    assert len(recorded["models"][config.models[0]]["checkpoint_sha256"]) == 64
    assert recorded["plugins"]["fakes"] == "fake 0"
    assert recorded["reward_model"] == {"short": {"family": "fake-reward"}}


def test_two_runs_are_compared_problem_by_problem_and_a_run_with_itself_is_refused(config, tmp_path):
    ours = timetrial.run(config, tmp_path / "ours", surroundings=surroundings())
    theirs = timetrial.run(replace(config, seed=1), tmp_path / "theirs", surroundings=surroundings())
    made = compare_runs(ours, theirs, surroundings().catalog)
    differences = [difference for item in made.analysis.comparisons for difference in item.differences]
    assert len(differences) == 2, "coverage and majority, one pair each"
    coverage = {curve.model: curve.values for curve in made.curves if curve.rule == "coverage"}
    expected = [
        a - b
        for a, b in zip(
            coverage[f"{ours.path}: {config.models[0]}"], coverage[f"{theirs.path}: {config.models[0]}"], strict=True
        )
    ]
    assert list(differences[0].differences) == pytest.approx(expected)
    with pytest.raises(UsageError, match="with itself"):
        compare_runs(ours, ours, surroundings().catalog)
