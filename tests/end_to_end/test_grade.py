"""An import graded anew from the command line: what is said, what is written, what is refused."""

import json

import pytest

from timetrial.store import RunFolder

ROWS = [
    {"problem": "1 + 1?", "answer": "2", "unique_id": "a", "completions": [r"\boxed{2}", r"\boxed{3}", "Well."]},
    {
        "problem": "1 / 2?",
        "answer": "0.5",
        "unique_id": "b",
        "completions": [r"\boxed{1/2}", r"\boxed{f(}", r"\boxed{2}"],
    },
]


@pytest.fixture
def imported(timetrial, tmp_path):
    """A small import, graded; one answer is unknown."""
    (tmp_path / "dump.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    timetrial("import-samples", "dump.jsonl", "--model", "m", "--temperature", "0.8", "--out", "run", "-q")
    return tmp_path / "run"


def spoil(imported):
    """Let an older timetrial have graded: every answer that was found is wrong, and no line says who graded."""
    path = imported / "grades.jsonl"
    grades = [json.loads(line) for line in path.read_text().splitlines()]
    for grade in grades:
        del grade["grader"]
        grade["correct"] = None if grade["answer"] is None else False
    path.write_text("".join(json.dumps(grade) + "\n" for grade in grades))


def test_a_run_is_graded_anew_and_its_old_grades_compared(timetrial, imported):
    good = (imported / "grades.jsonl").read_bytes()
    spoil(imported)
    old = (imported / "grades.jsonl").read_bytes()
    assert "`timetrial grade run`" in timetrial("report", "run", expect=4)

    (told,) = json.loads(timetrial("grade", "run", "--dry-run", "--json", "-q"))
    (series,) = told["series"]
    assert (series["accuracy_before"], series["accuracy"]) == (0.0, pytest.approx(2 / 6))
    assert {(each["before"], each["after"]): each["count"] for each in series["verdicts"]} == {
        ("wrong", "right"): 2,
        ("wrong", "wrong"): 2,
        ("wrong", "unknown"): 1,
        ("no answer", "no answer"): 1,
    }
    assert (imported / "grades.jsonl").read_bytes() == old

    said = timetrial("grade", "run", "-q")
    for words in ("wrong -> right", "1/2", "not understood", "index.html"):
        assert words in said
    assert (imported / "grades.jsonl").read_bytes() == good
    grader = json.loads((imported / "config.json").read_text())["tasks"]["math-500"]["grading"]
    assert all(json.loads(line)["grader"] == grader["grader"] for line in good.splitlines())
    assert grader["policy"]

    (outcome,) = json.loads(timetrial("report", "run", "--json", "-q"))
    (grading,) = outcome["grading"]
    assert (grading["num_right"], grading["num_wrong"], grading["num_no_answer"]) == (2, 2, 1)
    assert grading["unknown"] == {"not understood": 1}
    assert (grading["model"], grading["accuracy"], grading["accuracy_at_most"]) == ("m", 2 / 6, 3 / 6)
    page = (imported / "report" / "index.html").read_text()
    assert "Some answers that the grader could not judge" in page and "f(" in page


def test_what_cannot_be_graded_ends_in_one_paragraph(timetrial, imported, tmp_path):
    assert "no run folder" in timetrial("grade", "nowhere", expect=5)
    assert not (tmp_path / "nowhere").exists()
    assert "unknown grader 'nobody-knows'" in timetrial("grade", "run", "--second-opinion", "nobody-knows", expect=2)
    (tmp_path / "counts.csv").write_text("problem,n,correct\na,4,1\n")
    timetrial("import-samples", "counts.csv", "--model", "m", "--temperature", "1", "--out", "counts", "-q")
    assert "holds no completions" in timetrial("grade", "counts", expect=5)
    with RunFolder(imported).locked():
        assert "being written by another timetrial process" in timetrial("grade", "run", expect=5)
    timetrial("grade", "run", "-q")
