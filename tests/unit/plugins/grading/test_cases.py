"""Verdicts and classes on tables of real cases: cases/*.tsv, one row a pair, easy to extend.

A row says what a pair is: same (one class, right both ways), forgiven (two classes, and right by the policy), different
(two classes, wrong both ways) or unknown (neither right nor wrong).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from timetrial_plugins.grading import answer_class, grade

CASES = Path(__file__).parent / "cases"


class Case(NamedTuple):
    place: str
    verdict: str
    gold: str
    answer: str
    why: str


def cases(*verdicts: str) -> list[Case]:
    """Read the rows of all tables that have one of these verdicts."""
    rows = []
    for path in sorted(CASES.glob("*.tsv")):
        section = ""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("## "):
                section = line.removeprefix("## ")
            elif line and not line.startswith("#"):
                verdict, gold, answer, *why = re.split(r"\t+", line)
                rows.append(Case(f"{path.stem}:{number}", verdict, gold, answer, why[0] if why else section))
    return [case for case in rows if case.verdict in verdicts]


def table(*verdicts: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.place) for case in cases(*verdicts)])


@table("same")
def test_equivalent_answers_have_one_class_and_are_right(case: Case) -> None:
    assert answer_class(case.gold) == answer_class(case.answer), case.why
    assert grade(case.gold, case.answer).correct is True, case.why
    assert grade(case.answer, case.gold).correct is True, case.why


@table("forgiven")
def test_a_gold_answer_forgives_what_does_not_make_one_class(case: Case) -> None:
    assert grade(case.gold, case.answer).correct is True, case.why
    assert answer_class(case.gold) != answer_class(case.answer), case.why


@table("different")
def test_different_answers_are_wrong_and_of_different_classes(case: Case) -> None:
    assert grade(case.gold, case.answer).correct is False, case.why
    assert answer_class(case.gold) != answer_class(case.answer), case.why


@table("unknown")
def test_what_is_not_understood_or_not_decided_is_unknown_with_a_kind_and_a_detail(case: Case) -> None:
    verdict = grade(case.gold, case.answer)
    assert verdict.correct is None, case.why
    assert verdict.reason is not None and re.fullmatch(r"(not understood|undecided): .+", verdict.reason), (
        verdict.reason
    )


def test_every_row_has_a_verdict_that_is_tested() -> None:
    named = cases("same", "forgiven", "different", "unknown")
    lines = [line for path in CASES.glob("*.tsv") for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(named) == sum(bool(line) and not line.startswith("#") for line in lines) >= 400
