"""From a command line to a report, killed and continued, grown and refused."""

import json
import signal
import threading

import pytest

SHIPPED = ("--model", "nutshell-llama", "--task", "nutshell", "--temperature", "0.8", "--quiet")
SMALL = (*SHIPPED, "--limit", "10", "--no-time")


def lines(path):
    return sorted(path.read_text().splitlines())


def test_a_run_leaves_everything_the_report_needs(finished_run):
    names = {path.name for path in finished_run.iterdir()}
    assert {
        "config.json",
        "environment.json",
        "problems-nutshell.jsonl",
        "samples.jsonl",
        "grades.jsonl",
        "scores.jsonl",
        "timings.jsonl",
        "curves.json",
        "report",
    } <= names
    curves = json.loads((finished_run / "curves.json").read_text())["curves"]
    assert {curve["rule"] for curve in curves} == {"coverage", "majority", "best-of-n", "weighted"}
    assert all(curve["ks"] == [1, 2, 4, 8] and None not in curve["seconds"] for curve in curves)
    assert len({curve["values"][0] for curve in curves}) == 1, "at k = 1 every rule is pass@1"
    coverage = next(curve["values"] for curve in curves if curve["rule"] == "coverage")
    assert coverage == sorted(coverage)
    assert 0 < coverage[0] < 1
    page = (finished_run / "report" / "index.html").read_text()
    assert "nutshell-llama" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_the_same_command_again_changes_no_record(finished_run, timetrial):
    before = {name: (finished_run / name).read_bytes() for name in ("samples.jsonl", "grades.jsonl", "timings.jsonl")}
    timetrial(
        *("run", *SHIPPED, "--samples", "8", "--limit", "10", "--out", finished_run),
        *("--reward-model", "likelihood:nutshell-llama", "--repeats", "2", "--batch", "1,4", "--new-tokens", "8"),
    )
    assert before == {name: (finished_run / name).read_bytes() for name in before}


def test_a_killed_run_continues_to_the_samples_of_an_undisturbed_one(timetrial, tmp_path):
    command = ("run", *SMALL, "--samples", "12", "--batch-size", "5")
    process = timetrial.start(*command, "--out", tmp_path / "killed")
    samples = tmp_path / "killed" / "samples.jsonl"
    pause = threading.Event()
    while process.poll() is None and not (samples.is_file() and samples.read_bytes().count(b"\n") >= 20):
        pause.wait(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = samples.read_bytes().count(b"\n")
    assert 20 <= kept < 120, "the kill must fall into the middle of the run"
    continued = timetrial.start(*command, "--out", tmp_path / "killed")
    timetrial(*command, "--out", tmp_path / "undisturbed")
    _, err = continued.communicate(timeout=110)
    assert (continued.returncode, err) == (0, "")
    assert len(lines(samples)) == 120
    assert lines(samples) == lines(tmp_path / "undisturbed" / "samples.jsonl")
    assert lines(tmp_path / "killed" / "grades.jsonl") == lines(tmp_path / "undisturbed" / "grades.jsonl")


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(timetrial, tmp_path):
    process = timetrial.start("run", *SMALL, "--samples", "200", "--out", tmp_path / "run")
    samples = tmp_path / "run" / "samples.jsonl"
    pause = threading.Event()
    while process.poll() is None and not (samples.is_file() and samples.stat().st_size):
        pause.wait(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "same command again" in err and "Traceback" not in err
    assert all(json.loads(line) for line in samples.read_text().splitlines())


@pytest.mark.parametrize("command", ["leaderboard", "report", "compare"])
def test_a_finished_run_can_be_ranked_reported_and_compared(finished_run, timetrial, tmp_path, command):
    if command == "leaderboard":
        board = json.loads(timetrial("leaderboard", finished_run, "--budget", "1000", "--json"))
        assert [row["rank"] for row in board["standings"]] == [1, 2, 3]
        assert "weighted" in timetrial("leaderboard", finished_run, "--budget", "1000")
    elif command == "report":
        (outcome,) = json.loads(timetrial("report", finished_run, "--json"))
        assert outcome["page"].endswith("index.html")
    else:
        timetrial("run", *SMALL, "--samples", "8", "--seed", "1", "--out", tmp_path / "other")
        made = json.loads(timetrial("compare", finished_run, tmp_path / "other", "--json"))
        comparisons = [item for item in made["analysis"]["comparisons"] if item["differences"]]
        assert {item["rule"] for item in comparisons} >= {"coverage", "majority"}
        for difference in (difference for item in comparisons for difference in item["differences"]):
            ours, theirs = made["curves"][difference["curve"]], made["curves"][difference["baseline"]]
            assert ours["model"].startswith(str(finished_run)) and not theirs["model"].startswith(str(finished_run))


def test_time_alone_makes_a_report(timetrial, tmp_path):
    grid = ("--batch", "1,2", "--prompt-tokens", "8", "--new-tokens", "4", "--repeats", "2")
    outcome = json.loads(timetrial("time", "--model", "nutshell-llama", *grid, "--out", tmp_path / "t", "--json", "-q"))
    timed = [row for row in outcome["timings"] if not row["is_warmup"]]
    assert sorted((row["batch"], row["repeat"]) for row in timed) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert all(row["decode_s"] > 0 and row["prefill_s"] > 0 for row in timed)
    assert (tmp_path / "t" / "report" / "index.html").is_file()
