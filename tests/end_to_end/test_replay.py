"""Seconds by actual lengths from the command line: after a run, of one that was not timed, and validated."""

import json
import shutil

import pytest

SHIPPED = ("--model", "nutshell-llama", "--task", "nutshell", "--temperature", "0.8", "--quiet")


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of the small run, 8 samples of 10 problems, batches of 1 and 4 timed."""
    return shutil.copytree(finished_run, tmp_path / "run")


def test_a_run_is_replayed_without_being_asked(run):
    replay = json.loads((run / "replay.json").read_text())
    assert replay["missing"] == [] and len(replay["fits"]) == 1
    (seconds,) = replay["seconds"]
    assert seconds["ks"] == [1, 2, 4, 8] and seconds["static_splits"][-1] == [4, 4], "no batch above 4 was timed"
    ordinary = {curve["rule"]: curve for curve in json.loads((run / "curves.json").read_text())["curves"]}
    for curve in replay["deadlines"]:
        assert curve["ks"] == [1, 2, 4]
        assert [row[-1] for row in curve["values"]] == pytest.approx(ordinary[curve["rule"]]["values"][:3])
    assert "At a deadline" in (run / "report" / "tables.md").read_text()


def test_a_compact_batch_takes_no_longer_where_steps_grow_with_the_batch(run, timetrial):
    # Seconds measured on a busy machine need not grow with the batch, so these are given.
    timings = [json.loads(line) for line in (run / "timings.jsonl").read_text().splitlines()]
    for row in timings:
        row["decode_s"] = row["new_tokens"] * (2e-3 + row["batch"] * (1e-4 + 1e-6 * row["prompt_tokens"]))
    (run / "timings.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in timings))
    timetrial("report", run, "-q")
    (seconds,) = json.loads((run / "replay.json").read_text())["seconds"]
    assert all(c <= s * (1 + 1e-9) for c, s in zip(seconds["compact_s"], seconds["static_s"], strict=True))
    assert seconds["compact_s"][1] < seconds["static_s"][1], "of two rows, one ends first"


@pytest.mark.slow
def test_it_is_validated_by_the_wall_clock_and_resumed(run, timetrial):
    ask = ("replay", run, "--validate", "--problems", "2", "--samples", "4", "--repeats", "1", "-q", "--json")
    (outcome,) = json.loads(timetrial(*ask))
    assert {each["num_samples"] for each in outcome["validations"]} == {4} and len(outcome["validations"]) == 2
    assert all(ratio > 0 for ratio in outcome["ratio"].values())
    measured = (run / "end_to_end.jsonl").read_bytes()
    assert measured.count(b"\n") == 3, "a warm-up and two problems"
    assert json.loads(timetrial(*ask)) == [outcome] and (run / "end_to_end.jsonl").read_bytes() == measured
    assert "Replay against the wall clock" in (run / "report" / "tables.md").read_text()


@pytest.mark.slow
def test_a_run_that_was_not_timed_says_what_to_do_and_is_timed_later(timetrial, tmp_path):
    timetrial("run", *SHIPPED, "--samples", "2", "--limit", "3", "--no-time", "--max-tokens", "12", "--out", "run")
    (missing,) = json.loads((tmp_path / "run" / "replay.json").read_text())["missing"]
    assert "not timed" in missing["reason"] and "replay RUN --time" in missing["reason"]
    timed = json.loads(timetrial("replay", "run", "--time", "-q", "--json"))[0]
    assert timed["missing"] == [] and timed["seconds"][0]["ks"] == [1, 2] and timed["deadlines"]
