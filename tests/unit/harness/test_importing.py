"""Importing published files into a run folder: pooled dumps, counts, and imports that broke off."""

import json
from pathlib import Path

import pytest

from timetrial.catalog import open_catalog
from timetrial.error import DataError, RunError
from timetrial.importer import ImportOptions
from timetrial.importing import import_run
from timetrial.record import Completion, Grade, StepScores

OPTIONS = ImportOptions(model="m", temperature=0.8)
COUNTS = Path(__file__).parents[4] / "shared" / "data" / "llama32_1b_math500_counts.json"


def dump(path: Path, answers: list[list[str]]) -> Path:
    rows = [
        {
            "problem": f"What is {number}?",
            "answer": str(number),
            "unique_id": f"p{number}",
            "completions": [rf"It is $\boxed{{{answer}}}$." for answer in given],
            "scores": [[0.5, 0.1 * index] for index, _ in enumerate(given)],
            "completion_tokens": [7] * len(given),
            "some_other_column": 1,
        }
        for number, given in enumerate(answers)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def curves(run) -> dict:
    return {curve["rule"]: curve for curve in run.folder.read_json("curves.json")["curves"]}


def test_a_dump_becomes_a_graded_run_with_every_curve(tmp_path):
    path = dump(tmp_path / "dump.jsonl", [["0", "0.0", "9", "0"], ["9", "9", "1", "9"]])
    run = import_run([path], OPTIONS, tmp_path / "run", open_catalog())
    assert [record.correct for record in run.folder.read(Grade)] == [True, True, False, True, False, False, True, False]
    assert curves(run)["coverage"]["values"] == [0.5, pytest.approx((1 + 1 - 3 / 6) / 2), 1.0]
    assert curves(run)["majority"]["values"][-1] == 0.5, "0, 0.0 and 0 are one class"
    assert curves(run)["best-of-n"]["values"][-1] == 0.5, "the last completion has the largest score"
    assert (run.path / "report" / "index.html").is_file()


def test_several_dumps_of_one_model_make_one_pool(tmp_path):
    first = dump(tmp_path / "a.jsonl", [["0", "1"], ["1", "1"]])
    second = dump(tmp_path / "b.jsonl", [["0", "0"], ["0", "1"]])
    run = import_run([first, second], OPTIONS, tmp_path / "run", open_catalog())
    assert run.config.samples == 4
    keys = [record.key for record in run.folder.read(Completion)]
    assert len(keys) == len(set(keys)) == len(list(run.folder.read(StepScores))) == 8


def test_counts_give_coverage_alone(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("problem,n,correct\na,4,1\nb,4,4\n")
    run = import_run([path], OPTIONS, tmp_path / "run", open_catalog())
    assert set(curves(run)) == {"coverage"}
    assert curves(run)["coverage"]["values"] == [0.625, 0.75, 1.0]


def test_an_import_that_broke_off_can_be_done_again_but_a_run_is_never_replaced(tmp_path):
    path = dump(tmp_path / "dump.jsonl", [["0"], ["1"]])
    good = path.read_text()
    path.write_text(good + '{"problem": ')
    with pytest.raises(DataError, match="line 3"):
        import_run([path], OPTIONS, tmp_path / "run", open_catalog())
    path.write_text(good)
    run = import_run([path], OPTIONS, tmp_path / "run", open_catalog())
    assert len(list(run.folder.read(Completion))) == 2
    with pytest.raises(RunError, match="already holds a run"):
        import_run([path], OPTIONS, tmp_path / "run", open_catalog())


@pytest.mark.skipif(not COUNTS.is_file(), reason="the counts file is not here")
@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (0, [24.36, 35.21, 46.29, 56.69, 66.02, 74.23, 81.27, 86.77, 90.40]),
        (3, [23.84, 34.76, 46.10, 56.86, 66.51, 74.73, 81.38, 86.38, 90.00]),
        (None, [23.86, 34.74, 45.97, 56.55, 66.04, 74.24, 81.02, 86.13, 89.61, 91.89, 93.40]),
    ],
)
def test_real_counts_give_the_published_table_to_a_hundredth_of_a_point(tmp_path, seed, expected):
    options = ImportOptions(temperature=0.8, seed=seed)
    run = import_run([COUNTS], options, tmp_path / "run", open_catalog())
    values = curves(run)["coverage"]["values"][: len(expected)]
    assert [round(100 * value, 2) for value in values] == expected
