"""The seconds of scoring: which rows count, how they add to those of decoding, and how often they are drawn."""

from dataclasses import replace

import pytest

from timetrial.error import RunError
from timetrial.record import ScoreTiming, Timing
from timetrial.stages.times import TimingRows, run_times, verifier_times
from timetrial.stages.verifier_rows import verifier_rows, why_untimed
from timetrial.store import RunFolder


def row(batch, seconds, *, repeat=0, name="prm", tokens=70, environment="here"):
    return ScoreTiming(
        reward_model=name,
        batch=batch,
        prompt_tokens=50,
        tokens=tokens,
        steps=4,
        repeat=repeat,
        is_warmup=repeat < 0,
        status="out_of_memory" if seconds is None else "ok",
        score_s=seconds,
        peak_bytes=None,
        environment=environment,
    )


ROWS = [
    *(row(1, 100.0, repeat=-1), row(1, 1.0), row(1, 3.0, repeat=1), row(1, 2.0, repeat=2)),
    *(row(2, 3.0), row(4, None, repeat=-1)),
]


def decoding(batch, seconds):
    return Timing(
        model="m",
        batch=batch,
        prompt_tokens=5,
        new_tokens=6,
        repeat=0,
        is_warmup=False,
        status="ok",
        prefill_s=0.1,
        decode_s=seconds,
        peak_bytes=None,
        environment="here",
    )


def test_scoring_k_samples_takes_the_cheapest_split_of_medians_without_warm_ups_and_what_did_not_fit():
    (times,) = verifier_times(ROWS, (1, 2, 3, 8), replicates=300, seed=0).values()
    assert times.table.seconds == (2.0, 3.0, 5.0, 12.0)
    assert (times.table.model, times.table.new_tokens, times.table.out_of_memory) == ("prm", 70, (4,))
    assert times.table.splits[-1] == (2, 2, 2, 2)
    assert set(times.replicates[:, 0]) == {1.0, 2.0, 3.0}, "one repeat a replicate"


def test_decoding_and_scoring_follow_one_another(curve_of):
    rows = TimingRows(generation=[decoding(1, 10.0), decoding(2, 11.0)], verifier={"m": ROWS})
    times = run_times(rows, (1, 2), replicates=200, seed=0)
    paper, whole = curve_of(), curve_of(accounting="generation + verifier")
    assert times.of(paper).seconds.tolist() == [10.0, 11.0]
    assert times.of(whole).seconds.tolist() == [12.0, 14.0]
    assert set(times.of(whole).replicates[:, 1]) == {13.0, 14.0}, (
        "two at a time, or one by one where that is drawn fast"
    )
    assert set(times.of(whole).replicates[:, 0]) == {11.0, 12.0, 13.0}
    assert times.of(replace(whole, reward_model="other")) is None
    assert times.of(replace(whole, model="other")) is None


@pytest.fixture
def curve_of():
    from timetrial.record import Curve

    def make(**changes):
        fields = dict.fromkeys(Curve.__dataclass_fields__) | {
            "model": "m",
            "reward_model": "prm",
            "ks": (1, 2),
            "accounting": "generation",
        }
        return Curve(**{**fields, **changes})

    return make


def test_solutions_of_different_lengths_are_refused_and_the_last_workload_is_read(tmp_path):
    rows = [*ROWS, row(1, 5.0, tokens=90)]
    with pytest.raises(RunError, match="2 different lengths"):
        verifier_times(rows, (1,), replicates=2, seed=0)
    folder = RunFolder(tmp_path)
    with folder.locked(), folder.appending(ScoreTiming) as file:
        file.append([*rows, row(1, 7.0, name="orm"), row(1, 9.0, tokens=99, environment="there")])
    here = verifier_rows(folder, "here")
    assert {(each.reward_model, each.tokens) for each in here} == {("prm", 90), ("orm", 70)}
    assert [each.score_s for each in verifier_rows(folder, None)] == [9.0]
    assert "was not timed on the machine that timed the models" in why_untimed(folder, "prm", "elsewhere")
    assert "was not timed here" in why_untimed(folder, "new", "here")


def test_a_verifier_of_which_no_batch_fitted_has_no_seconds_and_says_so(tmp_path):
    folder = RunFolder(tmp_path)
    with folder.locked(), folder.appending(ScoreTiming) as file:
        file.append([row(1, None, repeat=-1)])
    assert verifier_times(verifier_rows(folder, "here"), (1,), replicates=2, seed=0) == {}
    assert why_untimed(folder, "prm", "here") == "no batch of solutions fitted in memory"
