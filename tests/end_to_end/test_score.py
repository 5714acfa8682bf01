"""Scoring from the command line: a stored run and an import, what it changes, what is refused."""

import json
import shutil

import pytest

REWARD_MODEL = "likelihood:nutshell-llama"


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of the finished run, which was scored and timed when it was made."""
    return shutil.copytree(finished_run, tmp_path / "run")


def records(run, name):
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


@pytest.mark.slow
def test_a_run_is_scored_anew_to_the_same_scores_and_ranked_by_all_that_it_takes(timetrial, run):
    before = {(row["problem"], row["sample"]): row["scores"] for row in records(run, "scores.jsonl")}
    lines = (run / "scores.jsonl").read_text().splitlines(keepends=True)
    (run / "scores.jsonl").write_text("".join(lines[: len(lines) // 3]) + lines[-1][:20])  # killed within a line
    (outcome,) = json.loads(timetrial("score", "run", "-r", REWARD_MODEL, "--reduction", "min", "--json", "-q"))
    after = {(row["problem"], row["sample"]): row["scores"] for row in records(run, "scores.jsonl")}
    assert after.keys() == before.keys()
    for key, scores in after.items():
        assert scores == pytest.approx(before[key], abs=1e-5)
    (done,) = outcome["done"]
    assert done["num_scored"] == len(lines) - len(lines) // 3
    assert {curve["reduction"] for curve in outcome["curves"]} == {None, "min"}
    assert {row["batch"] for row in records(run, "score_timings.jsonl")} == {1, 4}
    weighted = {c["accounting"]: c for c in outcome["curves"] if c["rule"] == "weighted"}
    assert weighted["generation"]["values"] == weighted["generation + verifier"]["values"]
    pairs = zip(weighted["generation + verifier"]["seconds"], weighted["generation"]["seconds"], strict=True)
    assert all(whole > paper for whole, paper in pairs)

    board = json.loads(timetrial("leaderboard", "run", "--budget", "1000", "--json"))
    assert {row["rule"]: row["counts_verifier"] for row in board["standings"]} == {
        "majority": None,
        "best-of-n": True,
        "weighted": True,
    }
    (changed,) = json.loads(timetrial("report", "run", "--gamma", "2", "--json", "-q"))
    assert {curve["gamma"] for curve in changed["curves"] if curve["rule"] == "weighted"} == {2.0}
    assert "gamma 2" in (run / "report" / "index.html").read_text()


@pytest.mark.slow
def test_an_ablation_is_printed_written_and_drawn(timetrial, run):
    said = timetrial("ablation", "run", "--k", "8", "--gamma", "0,1,inf", "-q")
    assert "AUC within a problem" in said and "limit" in said
    (made,) = json.loads(timetrial("ablation", "run", "--k", "8", "--gamma", "0,1,inf", "--json", "-q"))
    assert {(p["rule"], p["reduction"]) for p in made["points"]} >= {("weighted", "prod"), ("coverage", None)}
    assert json.loads((run / "ablation" / "ablation.json").read_text())["points"] == made["points"]
    assert len(list((run / "ablation").glob("*.png"))) == 1
    assert "k is 64" in timetrial("ablation", "run", "--k", "64", expect=2)


def test_an_import_is_scored_from_its_texts_without_seconds(timetrial, tmp_path):
    row = {"problem": "1 + 1?", "answer": "2", "unique_id": "a", "completions": [r"\boxed{2}", r"So \boxed{3}"]}
    (tmp_path / "dump.jsonl").write_text(json.dumps(row) + "\n")
    timetrial("import-samples", "dump.jsonl", "--model", "m", "--temperature", "0.8", "--out", "imported", "-q")
    said = timetrial("score", "imported", "-r", REWARD_MODEL, "-q")
    assert "What reward models made of the completions" in said and "index.html" in said
    assert not (tmp_path / "imported" / "score_timings.jsonl").exists()
    assert len(records(tmp_path / "imported", "scores.jsonl")) == 2


def test_what_cannot_be_scored_ends_in_one_paragraph(timetrial, run, tmp_path):
    assert "did you mean 'likelihood'" in timetrial("score", "run", "-r", "likelyhood:x", expect=2)
    assert "given 2 times" in timetrial("score", "run", "-r", f"{REWARD_MODEL},{REWARD_MODEL}", expect=2)
    assert "gamma is -1" in timetrial("score", "run", "-r", REWARD_MODEL, "--gamma", "-1", expect=2)
    (tmp_path / "counts.csv").write_text("problem,n,correct\na,4,1\n")
    timetrial("import-samples", "counts.csv", "--model", "m", "--temperature", "1", "--out", "counts", "-q")
    assert "holds no completions" in timetrial("score", "counts", "-r", REWARD_MODEL, expect=5)
    assert "`timetrial score` scores a run" in timetrial("ablation", "counts", expect=5)
