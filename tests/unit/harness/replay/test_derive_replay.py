"""The replay of a run folder: what it says, what it leaves out and why, and that it survives its file."""

import json

import numpy as np
import pytest

from timetrial.record import Count, EndToEnd
from timetrial.replay_record import replay_from_json, replay_to_json
from timetrial.stages.deadline_values import DeadlineSettings
from timetrial.stages.derive_replay import ReplaySource, make_replay
from timetrial.stages.pools import collect_counts, collect_votes
from timetrial.statistics.step_seconds import StepSeconds
from timetrial.statistics.subset_seconds import seconds_of
from timetrial.store import RunFolder

SETTINGS = DeadlineSettings(replicates=50, draws=640)
LENGTHS = ((10, 30, 20, 12), (40, 8, 8, 60), (25, 25, 25, 25))
KS = (1, 2, 4)


@pytest.fixture
def source(tmp_path, completion, grade, grid_rows):
    """Make a run of one model: three problems, four samples, two contexts timed."""

    def make(*, models=("m",), timed=("m",), prompts=(50, 150), extra=(), pools=(), graded=()):
        folder = RunFolder(tmp_path)
        records = [*extra]
        grades = [*graded]
        for model in models:
            for row, lengths in enumerate(LENGTHS):
                for sample, length in enumerate(lengths):
                    records.append(completion(f"p{row}", sample, length, model=model))
                    grades.append(grade(f"p{row}", sample, correct=sample <= row, model=model))
        rows = [row for model in timed for row in grid_rows(model=model, prompts=prompts, batches=(1, 2, 4))]
        with folder.locked():
            for record in [*records, *rows]:
                with folder.appending(type(record)) as file:
                    file.append([record])
        return ReplaySource(
            folder=folder,
            pools=[*collect_votes(grades, [], num_samples=4, reduction="last"), *pools],
            mapped=[row for row in rows if row.prompt_tokens == prompts[0]],
            ks=KS,
            num_samples=4,
            settings=SETTINGS,
        )

    return make


def test_seconds_throughput_and_deadlines_are_of_the_runs_own_lengths(source, rules):
    made = make_replay(source(), rules)
    (seconds,) = made.seconds
    assert (seconds.num_problems, seconds.num_left_out, seconds.longest_tokens) == (3, 0, 60)
    assert seconds.mean_tokens == pytest.approx(np.mean(LENGTHS))
    steps = StepSeconds(batches=(1, 4), fixed_s=(2.1e-3, 2.4e-3), per_token_s=(1e-6, 4e-6))
    whole = {mode: np.mean([seconds_of(steps, mode, 20, row) for row in LENGTHS]) for mode in ("static", "compact")}
    assert seconds.static_s[-1] == pytest.approx(whole["static"])
    assert seconds.compact_s[-1] == pytest.approx(whole["compact"])
    assert seconds.static_splits == ((1,), (2,), (4,)) == seconds.compact_splits
    np.testing.assert_allclose(seconds.mapped_s, [8 * (2e-3 + 1e-4 * k + 1e-6 * k * 54.5) for k in KS])
    assert [load.rows for load in made.throughput] == [1, 2, 4]
    assert sorted(load.problem_s for load in made.throughput) == [load.problem_s for load in made.throughput][::-1]
    assert {(curve.rule, curve.mode) for curve in made.deadlines} == {
        (rule, mode) for rule in ("coverage", "majority") for mode in ("static", "compact")
    }
    assert made.missing == ()


def test_it_survives_json_and_refuses_what_it_does_not_know(source, rules):
    made = make_replay(source(models=("m", "n"), timed=("m", "n")), rules)
    assert made.differences and {made.deadlines[each.curve].task for each in made.differences} == {"task"}
    data = json.loads(json.dumps(replay_to_json(made)))
    assert replay_from_json(data) == made
    with pytest.raises(ValueError, match="seed"):
        replay_from_json({name: value for name, value in data.items() if name != "seed"})


def test_one_context_leaves_everything_out_and_says_why(source, rules):
    made = make_replay(source(prompts=(50,)), rules)
    assert (made.fits, made.seconds, made.throughput, made.deadlines) == ((), (), (), ())
    (missing,) = made.missing
    assert "one context only" in missing.reason


def test_a_model_that_was_not_timed_is_named_and_the_others_are_replayed(source, rules):
    made = make_replay(source(models=("m", "n")), rules)
    assert [each.model for each in made.seconds] == ["m"] == list(dict.fromkeys(c.model for c in made.deadlines))
    (missing,) = made.missing
    assert missing.what.startswith("n on task") and "not timed" in missing.reason


def test_counts_and_unknown_lengths_are_named(source, rules, completion):
    counts = [Count(model="c", task="task", temperature=0.8, problem="a", num_samples=4, num_correct=1)]
    unknown = [completion("p0", sample, None, model="u") for sample in range(4)]
    made = make_replay(source(extra=unknown, pools=collect_counts(counts, num_samples=4)), rules)
    reasons = {missing.what.split()[0]: missing.reason for missing in made.missing}
    assert "only counts" in reasons["c"] and "known length" in reasons["u"]


def test_models_without_a_common_problem_have_seconds_but_no_deadlines(source, rules, completion, grade):
    other = [completion("elsewhere", sample, 9, model="o") for sample in range(4)]
    graded = [grade("elsewhere", sample, model="o") for sample in range(4)]
    made = make_replay(source(extra=other, graded=graded, timed=("m", "o")), rules)
    assert {each.model for each in made.seconds} == {"m", "o"} and made.deadlines == ()
    (missing,) = made.missing
    assert missing.what == "deadlines of task" and "no problem has all samples" in missing.reason


def test_completions_that_took_no_step_are_finished_at_once(source, rules, completion, grade):
    failed = [completion("p9", sample, 0, finish="error", error="too long") for sample in range(4)]
    made = make_replay(source(extra=failed, graded=[grade("p9", sample, correct=False) for sample in range(4)]), rules)
    assert all(len(curve.deadlines_s) < 40 and curve.num_problems == 4 for curve in made.deadlines)


def test_end_to_end_seconds_are_set_beside_the_replay_of_their_very_lengths(source, rules):
    fields = {"model": "m", "task": "task", "temperature": 0.8, "problem": "p0", "num_samples": 2}
    rows = [
        EndToEnd(
            **fields,
            repeat=repeat,
            is_warmup=repeat < 0,
            num_prompt_tokens=20,
            lengths=(10, 30),
            wall_s=wall_s,
            reference_s=30 * 8 * (2.2e-3 + 2e-6 * 54.5) * (1 + repeat) / 2,
            reference_prompt_tokens=50,
            reference_new_tokens=8,
            environment=where,
        )
        for repeat, wall_s, where in (
            (-1, 9.0, "here"),
            (0, 0.1, "here"),
            (1, 0.3, "here"),
            (2, 0.2, "here"),
            (3, 5, "x"),
        )
    ]
    (validation,) = make_replay(source(extra=rows), rules).validations
    assert (validation.num_repeats, validation.wall_s, validation.fastest_s, validation.slowest_s) == (3, 0.2, 0.1, 0.3)
    steps = StepSeconds(batches=(1, 2), fixed_s=(2.1e-3, 2.2e-3), per_token_s=(1e-6, 2e-6))
    assert validation.slowdown == pytest.approx(30), "the median repeat took 30 times as long as the grid"
    assert validation.prefill_s == pytest.approx(1e-3 + 20 * 1e-5)
    for mode, seconds in (("static", validation.static_s), ("compact", validation.compact_s)):
        assert seconds == pytest.approx(validation.prefill_s + seconds_of(steps, mode, 20, (10, 30)))
