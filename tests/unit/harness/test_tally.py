"""What became of the answers of a run: counted so that nothing is left over, with unknown ones to look at."""

import pytest

from timetrial.record import Grade, Problem
from timetrial.stages.tally import NUM_COUNTED, NUM_SHOWN, gather_grading
from timetrial.store import RunFolder

CONFIG = {"tasks": {"t": {"grading": {"grader": "g/1", "policy": {}, "second_opinion": {"grader": "s/1"}}}}}
PROBLEMS = {"t": {"p": Problem(id="p", text="?", gold="7")}}


def grade(sample, answer="7", correct=None, reason=None, grader="g/1", problem="p"):
    key = dict(model="m", task="t", temperature=0.8, problem=problem, sample=sample)
    return Grade(**key, answer=answer, answer_class=answer, correct=correct, grader=grader, reason=reason)


def gather(path, *grades):
    folder = RunFolder(path)
    with folder.locked(), folder.appending(Grade) as file:
        file.append(grades)
    return gather_grading(folder, CONFIG, PROBLEMS)


def test_every_completion_is_counted_once(tmp_path):
    (series,) = gather(
        tmp_path,
        grade(0, correct=True),
        grade(1, correct=True, grader="s/1"),
        grade(2, "8", correct=False),
        grade(3, "x", reason="not understood: x"),
        grade(4, "y", reason="not understood: y"),
        grade(5, "z", reason="timed out: after 2 s"),
        grade(6, None, correct=False, reason="no answer: none in the text"),
        grade(7, None, correct=False, reason="cut: at the token limit, inside the answer"),
        grade(8, None, reason="generation failed: no room"),
        grade(9, None, reason="extraction failed: KeyError"),
    ).statistics
    assert (series.num_right, series.num_wrong) == (2, 1)
    assert series.unknown == (("not understood", 2), ("timed out", 1), ("extraction failed", 1))
    assert (series.num_no_answer, series.num_cut, series.num_failed) == (1, 1, 1)
    assert series.num_completions == 10
    assert series.accuracy_bounds == (0.2, 0.6), "a failed generation has no text that could be right"
    assert series.num_second_opinions == 1
    assert series.graders == ("g/1", "s/1")


def test_unknown_answers_are_shown_the_most_frequent_of_each_kind_first(tmp_path):
    rare = [grade(10 + number, f"x{number}", reason=f"not understood: {number}") for number in range(20)]
    often = [grade(50 + number, "often", reason="not understood: often") for number in range(3)]
    often.append(grade(53, "often", reason="not understood: often", problem="another"))
    slow = grade(60, "slow", reason="timed out: after 2 s", problem="gone")
    shown = gather(tmp_path, *rare, *often, slow).unknown_answers
    assert len(shown) == NUM_SHOWN + 1
    assert (shown[0].answer, shown[0].count, shown[0].problem, shown[0].gold) == ("often", 4, "p", "7")
    assert (shown[-1].answer, shown[-1].gold, shown[-1].reason) == ("slow", None, "timed out: after 2 s")


def test_however_many_unknown_answers_there_are_few_are_held_and_all_are_counted(tmp_path):
    number = 3 * NUM_COUNTED
    grading = gather(tmp_path, *(grade(n, f"x{n}", reason="undecided: x") for n in range(number)))
    assert grading.statistics[0].num_unknown == number
    assert len(grading.unknown_answers) == NUM_SHOWN


@pytest.mark.parametrize("reason", [None, ""])
def test_doubt_without_a_reason_has_a_kind_of_its_own(tmp_path, reason):
    (series,) = gather(tmp_path, grade(0, "x", reason=reason)).statistics
    assert series.unknown == (("no reason given", 1),)
