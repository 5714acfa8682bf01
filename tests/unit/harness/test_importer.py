"""Importing completion dumps and tables of counts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from timetrial.error import DataError, UsageError
from timetrial.importer import ImportOptions, majority_disagreements, read_import
from timetrial.record import Completion, Count, Problem, StepScores
from timetrial.testing.fake import FakeTask

COUNTS = Path(__file__).parents[4] / "shared" / "data" / "llama32_1b_math500_counts.json"
OPTIONS = ImportOptions(model="llama", temperature=0.8)


def dump_row(**changes: object) -> dict[str, object]:
    return {
        "problem": "1 + 1?",
        "solution": "two",
        "answer": "2",
        "subject": "Algebra",
        "level": 3,
        "unique_id": "test/algebra/1.json",
        "completions": ["It is 2", "It is 3", "cut"],
        "scores": [[0.1, 0.9], [0.5], []],
        "pred": "2",
        "completion_tokens": [10, -1, 2048],
        "agg_scores": [0.9, 0.5, 0.0],
        "pred_maj@1": "2",
        **changes,
    }


def write(path: Path, rows: list[Mapping[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path)
    elif path.suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_dump_gives_its_problems_completions_and_step_scores(tmp_path: Path, suffix: str) -> None:
    records = list(read_import(write(tmp_path / f"dump.{suffix}", [dump_row()]), OPTIONS))
    assert records[0] == Problem(id="test/algebra/1.json", text="1 + 1?", gold="2", level=3, subject="Algebra")
    completions = [record for record in records if isinstance(record, Completion)]
    assert [(c.sample, c.text, c.num_tokens, c.finish) for c in completions] == [
        (0, "It is 2", 10, "stop"),
        (1, "It is 3", None, "stop"),
        (2, "cut", 2048, "length"),
    ]
    assert {c.series for c in completions} == {("llama", "math-500", 0.8)}
    scores = [record for record in records if isinstance(record, StepScores)]
    assert [(s.sample, s.scores) for s in scores] == [(0, (0.1, 0.9)), (1, (0.5,))]
    assert len(records) == 6


def test_settings_in_the_path_of_a_dump_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "Llama-3.2-1B-Instruct-best-of-N-completions"
    folder.mkdir()
    name = "HuggingFaceH4_MATH-500--T-0.8--top_p-1.0--n-3--max_tokens-10--bsz-8--seed-0--agg_strategy-last.jsonl"
    completions = [
        r for r in read_import(write(folder / name, [dump_row()]), ImportOptions()) if isinstance(r, Completion)
    ]
    assert completions[0].series == ("Llama-3.2-1B-Instruct", "math-500", 0.8)
    assert [c.finish for c in completions] == ["length", "stop", "length"]


def test_several_dumps_make_one_pool(tmp_path: Path) -> None:
    path = write(tmp_path / "dump.jsonl", [dump_row()])
    options = ImportOptions(model="llama", temperature=0.8, first_sample=256)
    assert [r.sample for r in read_import(path, options) if isinstance(r, Completion)] == [256, 257, 258]


def test_optional_columns_may_be_absent(tmp_path: Path) -> None:
    row = {"problem": "1 + 1?", "answer": "2", "completions": ["2"]}
    problem, completion = read_import(write(tmp_path / "dump.jsonl", [row]), OPTIONS)
    assert isinstance(problem, Problem)
    assert isinstance(completion, Completion)
    assert (len(problem.id), problem.level, completion.num_tokens) == (16, None, None)


def test_a_dump_is_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "dump.jsonl"
    write(path, [dump_row()])
    with path.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    records = read_import(path, OPTIONS)
    assert isinstance(next(records), Problem)
    with pytest.raises(DataError, match="line 2: not a JSON object"):
        list(records)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem": "?", "answer": "2", "completion": ["2"]}, r"no column 'completions'; did you mean 'completion'\?"),
        ({"problem": "?", "answr": "2", "completions": ["2"]}, r"no column 'answer'; did you mean 'answr'\?"),
        (dump_row(scores=[[0.1]]), "column 'scores' has 1 entries for 3 completions"),
        (dump_row(completions=["2", None, "3"]), "column 'completions' holds None: expected str"),
        (dump_row(completions="2"), "column 'completions' holds '2': expected list"),
        (dump_row(answer=2), "column 'answer' holds 2: expected str"),
        (
            {"problem": "?", "answer": "2", "completions": ["2"], "score": [[1.0]]},
            "no column 'scores', but there is 'score'",
        ),
        ({"problem": "p", "n": 4, "correct": 5}, "'p' has 5 correct of 4 samples"),
        ({"problem": "p", "n": "four", "correct": 5}, "column 'n' holds 'four': expected a number"),
        ({"problem": "p", "n": 2.5, "correct": 1}, "column 'n' holds 2.5: expected a whole number"),
        ({"problem": "p", "n": 4, "corect": 5}, r"no column 'correct'; did you mean 'corect'\?"),
        ({"counts": [[1]], "ns": [[2], [2]], "uids": ["a"]}, "counts, ns and uids are of different lengths"),
        ({"counts": [[1]], "uids": ["a"]}, "no column 'ns'"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = write(tmp_path / "file.jsonl", [row])
    with pytest.raises(DataError, match=message) as caught:
        list(read_import(path, OPTIONS))
    assert str(path) in str(caught.value)


def test_a_repeated_problem_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: problem 'test/algebra/1.json' occurs twice"):
        list(read_import(write(tmp_path / "dump.jsonl", [dump_row(), dump_row()]), OPTIONS))


@pytest.mark.parametrize("content", ["", "hello\nworld\n", "[1, 2]\n", "\x89PNG,\x00\n"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="empty|neither JSON lines nor CSV nor Parquet"):
        list(read_import(path, OPTIONS))


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    path.write_bytes(b"PAR1" + b"\x00" * 100)
    with pytest.raises(DataError, match="not a readable Parquet file"):
        list(read_import(path, OPTIONS))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_rows_of_counts_are_read(tmp_path: Path, suffix: str) -> None:
    rows = [{"problem": "a", "n": 4, "correct": 1, "note": "x"}, {"problem": "b", "n": 4, "correct": 4, "note": "y"}]
    assert list(read_import(write(tmp_path / f"counts.{suffix}", rows), OPTIONS)) == [
        Count(model="llama", task="math-500", temperature=0.8, problem=problem, num_samples=4, num_correct=correct)
        for problem, correct in (("a", 1), ("b", 4))
    ]


def test_a_row_of_counts_may_say_what_it_is_about(tmp_path: Path) -> None:
    row = {"problem": "a", "n": 4, "correct": 1, "model": "mamba", "task": "gsm8k-500", "temperature": 0.6}
    (count,) = read_import(write(tmp_path / "counts.csv", [row]), ImportOptions())
    assert isinstance(count, Count)
    assert (count.model, count.task, count.temperature) == ("mamba", "gsm8k-500", 0.6)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_table_of_counts_is_pooled_or_read_by_seed(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "counts.json"
    table = {"seeds": [7, 8], "counts": [[1, 2], [0, 4]], "ns": [[4, 4], [4, 4]], "uids": ["a", "b"]}
    path.write_text(json.dumps(table, indent=indent), encoding="utf-8")
    pooled = [record for record in read_import(path, OPTIONS) if isinstance(record, Count)]
    assert [(c.problem, c.num_samples, c.num_correct) for c in pooled] == [("a", 8, 3), ("b", 8, 4)]
    one = read_import(path, ImportOptions(model="llama", temperature=0.8, seed=8))
    assert [r.num_correct for r in one if isinstance(r, Count)] == [2, 4]
    with pytest.raises(UsageError, match="no seed 9: it has 7, 8"):
        list(read_import(path, ImportOptions(model="llama", temperature=0.8, seed=9)))


@pytest.mark.parametrize(
    ("options", "flag"), [(ImportOptions(temperature=0.8), "--model"), (ImportOptions(model="m"), "--temperature")]
)
def test_what_the_file_does_not_say_must_be_given(tmp_path: Path, options: ImportOptions, flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        list(read_import(write(tmp_path / "dump.jsonl", [dump_row()]), options))


@pytest.mark.skipif(not COUNTS.is_file(), reason="no shared data")
@pytest.mark.parametrize(
    ("seed", "k", "percent"), [(0, 1, 24.36), (0, 16, 66.02), (4, 256, 89.80), (None, 1, 23.86), (None, 1024, 93.40)]
)
def test_the_published_counts_give_the_published_coverage(seed: int | None, k: int, percent: float) -> None:
    counts = list(_counts(ImportOptions(temperature=0.8, seed=seed)))
    assert {count.model for count in counts} == {"Llama-3.2-1B-Instruct"}
    missed = [math.comb(c.num_samples - c.num_correct, k) / math.comb(c.num_samples, k) for c in counts]
    assert 100 * (1 - sum(missed) / 500) == pytest.approx(percent, abs=0.01)


def _counts(options: ImportOptions) -> Iterator[Count]:
    return (record for record in read_import(COUNTS, options) if isinstance(record, Count))


def test_replaying_the_first_n_votes_reproduces_what_agrees_and_names_what_does_not(tmp_path: Path) -> None:
    say = "The final answer is {}".format
    completions = [say(3), say(2), say(2), "nothing", "nothing", "nothing"]
    stored = {"pred_maj@1": say(3), "pred_maj@2": say(3), "pred_maj@4": say(2), "pred_maj@6": ""}
    row = {"problem": "?", "answer": "2", "completions": completions, **stored}
    task = FakeTask()
    assert task.extract(say(3)) == "3"
    assert list(majority_disagreements(write(tmp_path / "dump.jsonl", [row]), task)) == []
    wrong = {**row, "pred_maj@4": say(3)}
    (line,) = majority_disagreements(write(tmp_path / "wrong.jsonl", [wrong]), task)
    assert line == "row 1, pred_maj@4: the file has '3', the replay gives '2'"
    with pytest.raises(DataError, match="no column 'pred_maj@1'"):
        list(majority_disagreements(write(tmp_path / "none.jsonl", [{"problem": "?"}]), task))
