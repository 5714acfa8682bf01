"""Scoring runs and imports on disk: resumed, timed, refused; and both accountings of its seconds."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

import timetrial
from timetrial import scoring
from timetrial.catalog import open_catalog
from timetrial.compare import compare_runs
from timetrial.config import RunConfig, TimingGrid
from timetrial.error import ConfigMismatchError, PluginError, RunError, RunLockedError, UnknownNameError
from timetrial.record import Completion, Curve, ScoreTiming, StepScores, Timing, from_json
from timetrial.report.leaderboard import RunCurves, rank
from timetrial.runner import Run, Surroundings
from timetrial.scorer import NOT_TIMEABLE, NOTHING_TO_READ
from timetrial.scoring import ScoreRequest, score_run
from timetrial.stages.report import gather_report
from timetrial.testing import EchoModel, FakeClock, FakePlugin, FakeRewardModel, FakeTask

GRID = TimingGrid(batches=(1, 2, 4), prompt_tokens=(3,), new_tokens=2, repeats=3, warmups=1, spans_contexts=False)


class Verifier(FakeRewardModel):
    """Takes a second a batch; a text in which a 9 stands is too long for it."""

    memory = 100
    format = "short"

    @property
    def description(self):
        return {"family": "fake-reward", "format": self.format, "threads": 3}

    def score(self, problem, prompt, completions):
        scores = super().score(problem, prompt, completions)
        return [
            timetrial.Unscored(reason="too long: by a 9") if "9" in completion.text else steps
            for completion, steps in zip(completions, scores, strict=True)
        ]

    def reading(self, problem, prompt, completion):
        if "9" in completion.text:
            return None
        return timetrial.Reading(num_prompt_tokens=len(problem.text), num_tokens=len(completion.text), num_steps=2)

    def score_timing(self, batch, reading, *, clock, seed):
        if batch > self.memory:
            raise timetrial.OutOfMemory("no room")
        start_s = clock.now()
        return timetrial.ScoreTime(score_s=clock.now() - start_s, peak_bytes=batch)


class Small(Verifier):
    memory = 2


class Picky(Verifier):
    """Scores nothing."""

    def score(self, problem, prompt, completions):
        return [timetrial.Unscored(reason="no steps: ever")] * len(completions)

    def reading(self, problem, prompt, completion):
        return None


def make_plugin(verifier):
    @timetrial.hookimpl
    def timetrial_models():
        return [
            timetrial.ModelSpec(
                family="echo",
                load=lambda folder, options: EchoModel(3.0),
                doc="",
                recognises=lambda config: config.get("model_type") == "echo",
            )
        ]

    @timetrial.hookimpl
    def timetrial_tasks():
        return [timetrial.TaskSpec(name="repeat", load=lambda path: FakeTask(), doc="")]

    @timetrial.hookimpl
    def timetrial_reward_models():
        return [
            timetrial.RewardModelSpec(name="prm", load=lambda ref, options: verifier(), doc=""),
            timetrial.RewardModelSpec(name="plain", load=lambda ref, options: FakeRewardModel(), doc=""),
        ]

    return SimpleNamespace(
        timetrial_models=timetrial_models,
        timetrial_tasks=timetrial_tasks,
        timetrial_reward_models=timetrial_reward_models,
        __name__="fakes",
    )


def surroundings(verifier=Verifier):
    import timetrial_plugins.aggregators.plugin as aggregators

    catalog = open_catalog([FakePlugin("fakes", make_plugin(verifier)), FakePlugin("aggregators", aggregators)])
    return Surroundings(catalog=catalog, clock_for=lambda model: FakeClock(), score_clock=lambda: FakeClock(0.5))


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "echo"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return str(folder)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(timetrial.runner, "write_run_report", lambda folder: ())


@pytest.fixture
def sampled(checkpoint, tmp_path):
    """A run that was sampled and timed, and not scored."""
    config = RunConfig(models=(checkpoint,), tasks=("repeat",), samples=4, temperatures=(1.0,), grid=GRID)
    return timetrial.run(config, tmp_path / "run", surroundings=surroundings())


def scored(run, *names, verifier=Verifier, **request):
    return score_run(run, ScoreRequest(reward_models=names or ("prm",), **request), surroundings(verifier))


def curves(run):
    return [from_json(Curve, curve) for curve in run.folder.read_json("curves.json")["curves"]]


def curve_of(run, rule, accounting="generation"):
    (found,) = [curve for curve in curves(run) if (curve.rule, curve.accounting) == (rule, accounting)]
    return found


def lines(run, name="scores.jsonl"):
    return sorted((run.path / name).read_text().splitlines())


def test_a_run_is_scored_once_and_its_unscored_completions_abstain_where_scores_decide_alone(sampled):
    before = curve_of(sampled, "majority"), curve_of(sampled, "coverage")
    assert scored(sampled)["prm"].num_scored == 32
    records = list(sampled.folder.read(StepScores))
    texts = {completion.key: completion.text for completion in sampled.folder.read(Completion)}
    assert any(record.reason for record in records) and any(record.scores for record in records)
    for record in records:
        assert (record.reason is None) == (record.scores != ())
        assert (record.reason == "too long: by a 9") == ("9" in texts[record.key])
    assert (curve_of(sampled, "majority"), curve_of(sampled, "coverage")) == before
    assert curve_of(sampled, "best-of-n").num_problems == before[0].num_problems == 8
    (statistics,) = gather_report(sampled.folder).scoring
    assert dict(statistics.unscored)["too long"] == sum("9" in text for text in texts.values())
    assert statistics.num_completions == 32
    assert scored(sampled)["prm"] == (0, 0), "nothing is asked twice"


def test_scores_after_an_interruption_are_those_of_a_run_in_one_go(sampled):
    class Killed(Verifier):
        calls = 0

        def score(self, problem, prompt, completions):
            Killed.calls += 1
            if Killed.calls == 4:
                raise KeyboardInterrupt
            return super().score(problem, prompt, completions)

    with pytest.raises(KeyboardInterrupt):
        scored(sampled, verifier=Killed)
    path = sampled.path / "scores.jsonl"
    assert 0 < len(lines(sampled)) < 32
    with path.open("a") as file:
        file.write('{"model": "torn')  # the machine went down in the middle of a line
    assert scored(sampled)["prm"].num_scored == 32 - 12
    continued = lines(sampled)
    scored(sampled, drops_old=True)
    assert lines(sampled) == continued and len(continued) == 32


def test_several_reward_models_stand_side_by_side_and_one_can_be_dropped(sampled):
    scored(sampled, "prm", "plain")
    assert {curve.reward_model for curve in curves(sampled)} == {None, "prm", "plain"}
    assert set(sampled.folder.read_json("config.json")["reward_model"]) == {"prm", "plain"}
    plain = [line for line in lines(sampled) if json.loads(line)["reward_model"] == "plain"]
    scored(sampled, "prm", drops_old=True)
    assert [line for line in lines(sampled) if json.loads(line)["reward_model"] == "plain"] == plain
    assert len(lines(sampled)) == 64


def test_the_same_command_that_made_a_run_goes_on_with_it_after_it_was_scored(sampled):
    scored(sampled)
    grown = replace(sampled.config, samples=5, reward_model="prm", grid=replace(GRID, batches=(1, 2, 4, 8)))
    run = timetrial.run(grown, sampled.path, surroundings=surroundings())
    assert len(lines(run)) == 40
    assert {row.batch for row in run.folder.read(ScoreTiming)} == {1, 2, 4, 8}
    assert len({(row.prompt_tokens, row.tokens) for row in run.folder.read(ScoreTiming)}) == 1


def test_the_verifier_is_timed_like_the_models_at_the_mean_length_of_the_completions(sampled):
    scored(sampled)
    rows = list(sampled.folder.read(ScoreTiming))
    warm, timed = rows[:3], rows[3:]
    assert [row.batch for row in warm] == [1, 2, 4] and all(row.is_warmup for row in warm)
    assert sorted((row.batch, row.repeat) for row in timed) == [(b, r) for b in (1, 2, 4) for r in range(3)]
    texts = [c.text for c in sampled.folder.read(Completion) if "9" not in c.text]
    assert {row.tokens for row in rows} == {round(sum(map(len, texts)) / len(texts))}
    assert {row.environment for row in rows} == {row.environment for row in sampled.folder.read(Timing)}
    (entry,) = sampled.folder.read_json("environment.json").values()
    assert entry["reward_models"]["prm"]["format"] == "short"


def test_rules_that_take_scores_have_two_curves_that_differ_in_their_seconds_alone(sampled):
    scored(sampled, verifier=Small)
    for rule in ("best-of-n", "weighted"):
        paper, whole = curve_of(sampled, rule), curve_of(sampled, rule, "generation + verifier")
        assert paper.values == whole.values and paper.low == whole.low
        verifier = [whole_s - s for whole_s, s in zip(whole.seconds, paper.seconds, strict=True)]
        # Half a second a batch; four solutions do not fit together and are two and two.
        assert verifier == pytest.approx([0.5, 0.5, 1.0])
    assert [curve.accounting for curve in curves(sampled) if curve.reward_model is None] == ["generation"] * 2
    analysis = gather_report(sampled.folder).analysis
    (table,) = analysis.verifier_tables
    assert (table.model, table.out_of_memory, table.splits[-1]) == ("prm", (4,), (2, 2))
    assert analysis.untimed_verifiers == ()


def test_what_is_ranked_and_on_the_front_pays_for_its_verifier(sampled):
    scored(sampled)
    made = tuple(curves(sampled))
    analysis = gather_report(sampled.folder).analysis
    (together,) = [each for each in analysis.comparisons if each.rule is None]
    assert {(made[place].rule, made[place].accounting) for place in together.curves} == {
        ("majority", "generation"),
        ("best-of-n", "generation + verifier"),
        ("weighted", "generation + verifier"),
    }
    kinds = [(each.rule, each.accounting) for each in analysis.comparisons]
    assert kinds.count(("weighted", "generation")) == kinds.count(("weighted", "generation + verifier")) == 1
    board = rank([RunCurves(run="run", curves=made, machines=("here",))], 100)
    assert {(row.rule, row.counts_verifier) for row in board.standings} == {
        ("majority", None),
        ("best-of-n", True),
        ("weighted", True),
    }


@pytest.mark.parametrize(
    ("names", "verifier", "reason"), [(("plain",), Verifier, NOT_TIMEABLE), (("prm",), Picky, NOTHING_TO_READ)]
)
def test_a_reward_model_that_cannot_be_timed_has_one_curve_and_the_reason_is_kept(sampled, names, verifier, reason):
    scored(sampled, *names, verifier=verifier)
    assert not list(sampled.folder.read(ScoreTiming))
    assert {curve.accounting for curve in curves(sampled)} == {"generation"}
    (untimed,) = gather_report(sampled.folder).analysis.untimed_verifiers
    assert (untimed.reward_model, untimed.reason) == (names[0], reason)
    if names == ("plain",):
        board = rank([RunCurves(run="run", curves=tuple(curves(sampled)), machines=("here",))], 100)
        assert {row.counts_verifier for row in board.standings} == {None, False}


def test_timing_can_be_left_out_and_the_report_says_how_to_make_up_for_it(sampled):
    scored(sampled, is_timed=False)
    (untimed,) = gather_report(sampled.folder).analysis.untimed_verifiers
    assert f"timetrial score {sampled.path} --reward-model prm --time" in untimed.reason
    assert scored(sampled)["prm"] == (0, 9)
    assert gather_report(sampled.folder).analysis.untimed_verifiers == ()


def test_seconds_of_another_machine_are_not_added_to_those_of_this_one(sampled, monkeypatch):
    monkeypatch.setattr(scoring, "environment_key", lambda facts: "elsewhere")
    assert scored(sampled)["prm"].num_timed == 0, "by default it is timed where the models were"
    monkeypatch.undo()
    monkeypatch.setattr(timetrial.runner, "write_run_report", lambda folder: ())
    monkeypatch.setattr(timetrial.scorer, "environment_key", lambda facts: "elsewhere")
    assert scored(sampled, is_timed=True)["prm"].num_timed == 9
    assert {curve.accounting for curve in curves(sampled)} == {"generation"}
    (untimed,) = gather_report(sampled.folder).analysis.untimed_verifiers
    assert "on the machine that timed the models" in untimed.reason


def test_reduction_and_gamma_change_without_scoring_again(sampled):
    scored(sampled)
    before = lines(sampled)
    plain = curve_of(sampled, "weighted")
    assert (plain.gamma, plain.reduction) == (1.0, "last")
    other = replace(sampled, config=replace(sampled.config, gamma=0.0, reduction="min"))
    timetrial.runner.refresh_report(other, surroundings().catalog)
    assert lines(sampled) == before
    weighted = curve_of(sampled, "weighted")
    assert (weighted.gamma, weighted.reduction) == (0.0, "min")
    assert curve_of(sampled, "best-of-n").gamma == 1.0, "it adds nothing up"
    assert Run.open(sampled.path).config.gamma == 0.0


def test_scores_of_another_reward_model_under_the_same_name_are_not_mixed(sampled):
    class Other(Verifier):
        format = "long"

    class Threaded(Verifier):
        description = {"family": "fake-reward", "format": "short", "threads": 1}

    scored(sampled)
    assert scored(sampled, verifier=Threaded)["prm"] == (0, 0)
    grown = timetrial.run(replace(sampled.config, samples=5), sampled.path, surroundings=surroundings())
    with pytest.raises(ConfigMismatchError, match="format: the scores have 'short', now 'long'.*\n.*--again"):
        scored(grown, verifier=Other)
    assert scored(grown, verifier=Other, drops_old=True)["prm"].num_scored == 40


def test_an_import_is_scored_from_its_texts_and_counts_are_refused(sampled, tmp_path):
    run = sampled
    (run.path / "timings.jsonl").unlink()
    assert scored(run)["prm"] == (32, 0), "what was never timed is not timed unless asked for"
    (run.path / "samples.jsonl").unlink()
    with pytest.raises(RunError, match="no completions.*rather than of counts"):
        scored(run)


def test_what_cannot_be_scored_is_refused_before_anything_is_written(sampled):
    with pytest.raises(UnknownNameError, match="did you mean 'prm'"):
        scored(sampled, "prn")
    with sampled.folder.locked(), pytest.raises(RunLockedError):
        scored(sampled)
    without = Surroundings(catalog=open_catalog([]), score_clock=FakeClock)
    with pytest.raises(UnknownNameError, match="unknown reward model 'prm'"):
        score_run(sampled, ScoreRequest(reward_models=("prm",)), without)
    path = sampled.path / "problems-repeat.jsonl"
    whole = path.read_text()
    path.write_text("".join(whole.splitlines(True)[1:]))
    with pytest.raises(RunError, match="problem 'repeat/0' of a sample on repeat"):
        scored(sampled)
    path.unlink()
    with pytest.raises(RunError, match="no problems-repeat.jsonl"):
        scored(sampled)


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ([], "0 results for 4 completions"),
        ([()] * 4, "expected one finite number a step"),
        ([(float("nan"),)] * 4, "expected one finite number a step"),
        ([timetrial.Unscored(reason="")] * 4, "without a reason"),
    ],
)
def test_a_reward_model_that_breaks_its_contract_is_named_and_nothing_of_it_is_kept(sampled, result, complaint):
    class Broken(Verifier):
        def score(self, problem, prompt, completions):
            return result

    with pytest.raises(PluginError, match=f"'prm'.*{complaint}"):
        scored(sampled, verifier=Broken)
    assert not list(sampled.folder.read(StepScores))


def test_two_runs_are_compared_each_with_the_verifier_at_its_own_lengths(sampled, checkpoint, tmp_path):
    config = replace(sampled.config, seed=1)
    other = timetrial.run(config, tmp_path / "other", surroundings=surroundings())
    scored(sampled)
    scored(other, verifier=Small)
    made = compare_runs(sampled, other, surroundings().catalog)
    whole = [c for c in made.curves if (c.rule, c.accounting) == ("weighted", "generation + verifier")]
    paper = [c for c in made.curves if (c.rule, c.accounting) == ("weighted", "generation")]
    added = [[a - b for a, b in zip(w.seconds, p.seconds, strict=True)] for w, p in zip(whole, paper, strict=True)]
    assert added[0] == pytest.approx([0.5, 0.5, 0.5]) and added[1] == pytest.approx([0.5, 0.5, 1.0])
