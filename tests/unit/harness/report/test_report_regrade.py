"""What `timetrial grade` prints: every change has a column, and any text can be shown and printed."""

import json

from timetrial.changes import ChangedAnswer, SeriesChanges, VerdictChange
from timetrial.cli.options import print_json, print_tables
from timetrial.report.regrade_tables import regrade_tables

HALF = "\ud800 \x1b[31m \u202e half of a pair"


def make_changes(**changes):
    fields = {
        "model": "llama-1b",
        "task": "math-500",
        "temperature": 0.6,
        "num_completions": 1_000,
        "verdicts": (
            VerdictChange(before="right", after="right", count=600),
            VerdictChange(before="unknown", after="right", count=300),
            VerdictChange(before="wrong", after="right", count=100),
        ),
        "num_answers_changed": 2,
        "num_classes_split": 3,
        "num_classes_merged": 4,
        "accuracy_before": 0.6,
        "accuracy": 1.0,
        "examples": (),
    }
    return SeriesChanges(**{**fields, **changes})


def make_answer(**changes):
    fields = {
        "problem": "p-17",
        "sample": 3,
        "gold": "1/2",
        "answer_before": "0.5",
        "answer": "0.5",
        "before": "unknown",
        "after": "right",
        "reason": None,
    }
    return ChangedAnswer(**{**fields, **changes})


def test_right_and_wrong_always_have_their_columns_and_other_changes_theirs():
    (table,) = regrade_tables([make_changes(), make_changes(accuracy_before=None)])
    first, second = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (first["model"], first["completions"]) == ("llama-1b, temp. 0.6", "1,000")
    assert (first["accuracy before, %"], first["accuracy, %"]) == ("60.0", "100.0")
    assert (first["right -> wrong"], first["wrong -> right"], first["unknown -> right"]) == ("0", "100", "300")
    assert (first["other answer"], first["classes split"], first["classes merged"]) == ("2", "3", "4")
    assert "right -> right" not in table.columns
    assert second["accuracy before, %"] == "-"


def test_answers_stand_beside_the_gold_answer_with_both_verdicts():
    same = make_answer()
    other = make_answer(answer_before=None, answer="2", before="no answer", after="unknown", reason="undecided: x")
    _, table = regrade_tables([make_changes(examples=(same, other))])
    assert table.rows[0][1:] == ("math-500 p-17", "1/2", "0.5", "unknown", "right")
    assert table.rows[1][3:] == ("-, now 2", "no answer", "unknown (undecided: x)")


def test_any_text_can_be_printed_as_a_table_and_as_json(capsysbinary):
    answer = make_answer(gold=HALF, answer=HALF + "9" * 500, reason=HALF, problem=HALF)
    print_tables(regrade_tables([make_changes(examples=(answer,))]))
    shown = capsysbinary.readouterr().out.decode("utf-8")
    assert "\\ud800" in shown and "\x1b" not in shown
    print_json({"answer": HALF})
    assert json.loads(capsysbinary.readouterr().out) == {"answer": HALF}
