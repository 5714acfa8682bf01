import json

import pytest

from timetrial.error import DataError
from timetrial_distillation.data.overlap import MIN_WORDS, read_test_problems

QUESTION = "A farmer has 17 sheep and buys 25 more. How many sheep does the farmer have after he sells 9 of them?"
WORDS = QUESTION.lower().replace(".", "").replace("?", "").split()


def problems(path, questions, run=13, column="question"):
    path.write_text("".join(json.dumps({column: question, "answer": 1}) + "\n" for question in questions))
    return read_test_problems([path], run)


def test_a_copy_is_found_whatever_its_case_and_punctuation(tmp_path):
    tested = problems(tmp_path / "t.jsonl", ["Other words.", QUESTION])
    found = tested.find(f"Well: {QUESTION.upper().replace(' ', '  ')} Let us see ...")
    assert (found.file, found.number) == ("t.jsonl", 2)
    assert found.words == " ".join(WORDS[:13])


@pytest.mark.parametrize("start", range(len(WORDS) - 12))
def test_every_run_of_a_problem_is_found_and_a_shorter_one_is_not(tmp_path, start):
    tested = problems(tmp_path / "t.jsonl", [QUESTION])
    assert tested.find(" ".join(["sheep", *WORDS[start : start + 13], "sheep"])) is not None
    assert tested.find(" ".join(["x", *WORDS[start : start + 12], "y"])) is None


def test_words_in_another_order_are_no_overlap(tmp_path):
    tested = problems(tmp_path / "t.jsonl", [QUESTION])
    assert tested.find(" ".join(reversed(WORDS))) is None


def test_a_short_problem_must_be_there_whole_and_a_very_short_one_is_counted_as_not_checked(tmp_path):
    short = " ".join(WORDS[:9])
    tested = problems(tmp_path / "t.jsonl", [short, " ".join(WORDS[: MIN_WORDS - 1])])
    assert tested.find(f"x {short} y") is not None
    assert tested.find(" ".join(WORDS[:8])) is None
    (description,) = tested.description
    assert (description["problems"], description["too_short"]) == (2, 1)
    assert description["name"] == "t.jsonl" and len(description["sha256"]) == 64


def test_the_length_of_the_runs_is_the_users(tmp_path):
    tested = problems(tmp_path / "t.jsonl", [QUESTION], run=5)
    assert tested.find("buys 25 more how many").words == "buys 25 more how many"


def test_digits_and_letters_are_apart_so_that_formulas_are_compared_too(tmp_path):
    tested = problems(
        tmp_path / "t.jsonl", ["Find 2x+3y+4z-5w where x=1, y=2, z=3 and w=4 now."], run=8, column="problem"
    )
    assert tested.find("2 x + 3 y + 4 z - 5 w") is not None


def test_a_file_without_problems_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"t\.jsonl: no test problems: expected a column problem, question, prompt, text"
    ):
        problems(tmp_path / "t.jsonl", [QUESTION], column="wording")
