"""The benchmark of the grader runs, at a tiny size and without math-verify, and its own tables are right."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"
GOLDS = ["12", r"\frac{3}{4}", "(1,2)", r"\text{east}", "58,500", r"3\sqrt{2}", "52_8", "1,-2", "0.5", "x+1"]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("grading", "grading_cases", "grading_measures", "grading_math_verify"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import grading
    import grading_math_verify

    monkeypatch.setattr(grading_math_verify, "IS_INSTALLED", False)
    return grading


@pytest.fixture
def data(tmp_path: Path) -> Path:
    solutions = [{"answer": gold, "solution": f"So it is $\\boxed{{{gold}}}$."} for gold in GOLDS]
    cases = [
        {
            "gold": "$9$",
            "answer": "Answer \\[ 9 \\]",
            "equal": True,
            "kind": "response",
            "opts": {"match_types": ["latex"]},
        },
        {"gold": "1/3", "answer": "0.33", "equal": True, "kind": "bare", "opts": {"precision": 2}},
        {"gold": "5", "answer": "6", "equal": True, "kind": "bare", "policy": "a wrong label"},
    ]
    files = {
        "math500": solutions,
        "equivalence_cases": cases,
        "gsm8k_graded_responses": [{"gold": "18", "response": "9 * 2 = 18\nA: 18", "equal": True}],
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def run(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["grading.py", *options])
    benchmark.main()


def test_each_part_gives_its_rows(
    benchmark: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.modules["grading_cases"], "HOSTILE", {"digits": "7" * 5_000, "NUL": "\0"})
    run(benchmark, monkeypatch, "--data", str(data), "--repeats", "1", "--json", "--misses")
    captured = capsys.readouterr()
    assert "math-verify is not installed" in captured.err
    result = json.loads(captured.out)
    right = {row["pairs"]: (row["number"], row["right"]) for row in result["accuracy"]}
    assert right["equivalence cases"] == (2, 1)  # the row whose label is convention is left out
    assert right["equivalence cases, own precision"] == (2, 2)
    assert right["golds, their solutions"] == right["golds, boxed"] == right["golds, bare"] == (10, 10)
    assert right["golds, all pairs"] == (90, 90)
    assert right["GSM8K completions"] == (1, 1)
    number, verdicts = right["golds, variants"]
    assert number > 80 and verdicts >= 0.95 * number
    assert [row["input"] for row in result["hostile"]] == ["digits", "NUL"]
    assert {row["math_verify_per_s"] for row in result["speed"]} == {None}
    assert all(row["per_s"] > 0 for row in result["speed"])
    classes = [row for row in result["relation"] if row["grader"] in ("timetrial, classes", "timetrial, keys")]
    assert [(row["irreflexive"], row["asymmetric"], row["intransitive"]) for row in classes] == [(0, 0, 0)] * 2
    assert any(miss["pairs"] == "equivalence cases" and miss["gold"] == "1/3" for miss in result["misses"])


def test_the_tables_are_printed(
    benchmark: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    extra = data / "extra.jsonl"
    extra.write_text('{"gold": "1/2", "answer": "0.5", "equal": true}\n', encoding="utf-8")
    run(benchmark, monkeypatch, "--data", str(data), "--only", "accuracy,relation", "--suite", str(extra))
    printed = capsys.readouterr().out
    assert "extra" in printed and "timetrial, verdicts within" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "/nowhere"), "cannot read /nowhere/math500.jsonl"),
        (("--only", "accuracy,sped"), "there is no part sped"),
    ],
)
def test_what_is_missing_is_said(
    benchmark: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(benchmark, monkeypatch, *options)
    assert message in f"{stop.value} {capsys.readouterr().err}"


def test_sampled_completions_repeat_themselves_and_are_the_same_each_time(benchmark: ModuleType) -> None:
    cases = sys.modules["grading_cases"]
    problems = cases.sampled_completions(GOLDS, 64)
    assert problems == cases.sampled_completions(GOLDS, 64)
    assert all(len(problem.texts) == 64 and 3 < len(set(problem.texts)) < 48 for problem in problems)


def test_a_violation_is_counted(benchmark: ModuleType) -> None:
    violations = sys.modules["grading_measures"].violations
    row = violations("near", ["1", "2", "3"], lambda a, b: abs(a - b) <= 1)
    assert (row.irreflexive, row.asymmetric, row.intransitive) == (0, 0, 2)
    row = violations("less", ["1", "2", "3"], lambda a, b: a < b)
    assert (row.irreflexive, row.asymmetric, row.intransitive) == (3, 3, 0)
