"""math-verify as a grader: its word where it can be believed, unknown with a reason where not. Real processes."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from timetrial.error import UsageError
from timetrial.protocol import Grader
from timetrial_plugins.graders import plugin
from timetrial_plugins.grading import math_verify
from timetrial_plugins.grading.math_verify import load
from timetrial_plugins.grading.verdict import answer_class
from timetrial_plugins.grading.vetoes import misread, overlooked

DATA = Path(__file__).parents[5] / "shared" / "data"

try:
    VERSION = importlib.metadata.version("math-verify")
except importlib.metadata.PackageNotFoundError:
    VERSION = ""
needs_math_verify = pytest.mark.skipif(not VERSION, reason="math-verify is not installed")

RIGHT = [
    ("1/2", r"\frac12"),
    ("0.5", r"\frac{1}{2}"),
    ("x^2-1", "(x-1)(x+1)"),
    ("x=5", "5"),
    ("$5$", r"\boxed{5}"),
    (r"\$36", "36"),
    (r"\$32,\!348", "32348"),
    ("1000", "1,000"),
    ("10", r"10\%"),
    (r"10\%", "0.1"),
    ("5", r"5\text{ cm}"),
    ("|AB|=1", "1"),
    (r"x\in[0,1]", "[0,1]"),
    ("(1,2)", r"\left( 1, 2 \right)"),
    (r"(1,2)\cup(3,4)", r"(3,4)\cup(1,2)"),
    (r"1\pm\sqrt2", r"1+\sqrt2,1-\sqrt2"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", "\\begin{bmatrix}1\n\\\\2\\end{bmatrix}"),
    (r"\sum_{k=1}^{3}k", "6"),
    ("2x+4y-3=0", r"y=-\frac{1}{2}x+\frac{3}{4}"),
]

WRONG = [
    ("5", "6"),
    ("0.1", "10"),
    (r"\pi", "3.1416"),
    ("x+1", "x+2"),
    ("(1,2)", "(2,1)"),
    ("[0,1)", "(0,1)"),
    ("5", ""),
]

UNKNOWN = [
    ("40_9", "40", "the base of a number"),
    ("52_8", "52_9", "the base of a number"),
    ("204_{5}", "204", "the base of a number"),
    ("0", "5x-7y+11z+4=0", "not symmetric"),
    ("5x=0", "0", "not symmetric"),
    ("xy=0", "0", "one side of an equation"),
    ("(-2,1)", "1,-2", "not symmetric"),
    ("1,-2", "(-2,1)", "not symmetric"),
    ("(2,1)", "1,2", "not symmetric"),
    ("(1,2)", r"\{1,2\}", "the order of a tuple"),
    ("(1,3)", "1,3", "the order of a tuple"),
    ("[0,1)", r"0\le x<1", "not symmetric"),
    ("AB", "BA", "the order of letters"),
    ("abc", "cab", "the order of letters"),
    ("0.0000001", "0.0000002", "small number"),
    ("5 cm", "5 m", "a unit"),
    (r"5\text{ cm}^2", r"5\text{ cm}^3", "a unit"),
    (r"5\mbox{ cm}^{2}", r"5\text{ cm}", "a unit"),
    (r"1,2,\ldots,9", "1,2,9", "misreads dots"),
    ("2", "2 2/3", "a space between"),
    ("0", "1 000", "a space between"),
    ("5", "))((", "finds no formula in the answer"),
    ("12:00", "12:01", "finds no formula in the gold answer"),
    ("5", r"\frac{1}{0}", "finds no formula in the answer"),
    ("5", r"\boxed{1} and \boxed{5}", "finds no formula in the answer"),
    ("5", "9" * 2_001, "the answer is longer than 2000 characters"),
    ("", "5", "the gold answer is empty"),
]


@pytest.fixture(scope="module")
def grader() -> Grader:
    return load()


@needs_math_verify
@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_what_it_calls_equal_in_both_directions_is_right(grader: Grader, gold: str, answer: str) -> None:
    assert grader.grade(gold, answer).correct is True


@needs_math_verify
@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_what_it_reads_and_calls_different_is_wrong(grader: Grader, gold: str, answer: str) -> None:
    assert grader.grade(gold, answer).correct is False


@needs_math_verify
@pytest.mark.parametrize(("gold", "answer", "why"), UNKNOWN)
def test_where_it_is_known_to_err_or_reads_nothing_the_verdict_is_unknown(
    grader: Grader, gold: str, answer: str, why: str
) -> None:
    said = grader.grade(gold, answer)
    assert said.correct is None
    assert said.reason is not None and why in said.reason
    assert said.reason.partition(":")[0] in ("undecided", "not understood")


@needs_math_verify
@pytest.mark.parametrize("answer", ["12:00", "))((", "\x00", "\ud800", " 5 "])
def test_an_answer_is_equal_to_itself_without_being_read(grader: Grader, answer: str) -> None:
    assert grader.grade(answer, answer.strip()).correct is True


@needs_math_verify
@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "math500.jsonl").is_file(), reason="no shared data")
def test_every_gold_answer_of_math_500_equals_itself_in_a_box(grader: Grader) -> None:
    rows = [json.loads(line) for line in (DATA / "math500.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [
        row["answer"] for row in rows if not grader.grade(row["answer"], rf"\boxed{{{row['answer']}}}").correct
    ] == []


@needs_math_verify
def test_it_says_what_it_is_and_what_is_its_convention(grader: Grader) -> None:
    assert isinstance(grader, Grader)
    assert grader.name == f"math-verify/{VERSION}+timetrial-{math_verify.WRAPPER_VERSION}"
    policy = json.loads(json.dumps(grader.policy))
    assert policy["verify"] == math_verify.OPTIONS
    assert {"the base of a number", "dots"} <= set(policy["unknown_for"])


@needs_math_verify
def test_its_classes_are_those_of_timetrial(grader: Grader) -> None:
    assert grader.answer_class("0.5") == answer_class(r"\frac12")


@needs_math_verify
def test_the_plugin_offers_it_by_name(grader: Grader) -> None:
    (spec,) = plugin.timetrial_graders()
    assert spec.name == "math-verify"
    assert spec.load().name == grader.name


def test_discovering_the_plugin_does_not_import_the_graders() -> None:
    code = (
        f"import sys, {plugin.__name__}; print([name for name in sys.modules if 'grading' in name or name == 'mpmath'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(math_verify, "version", missing)
    with pytest.raises(UsageError, match=r"pip install 'timetrial\[math-verify\]'"):
        load()


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("204_5", "204_{5}", None),
        ("204_5", "204_6", "the base of a number"),
        (r"5\text{ cm}^2", r"5\text{cm}^{2}", None),
        (r"5\text{ cm}^2", "5", None),
        ("x=0", "0", None),
        ("f(x)=0", "0", None),
        ("x_1=0", "0", None),
        ("x+y=0", "0", "one side of an equation"),
        ("x+y=0", "y=-x", None),
        ("(p,q)=(3,2)", "(3,2)", None),
        ("(1,2)", r"\left[1,2\right]", None),
        ("(1,2)", "1,2", "the order of a tuple"),
        ("(11,7)or(7,11)", "(7,11),(11,7)", None),
        ("f(x,y)", "f(x,y)", None),
    ],
)
def test_what_may_be_overlooked_is_seen_from_either_side(one: str, other: str, what: str | None) -> None:
    assert overlooked(one, other) == overlooked(other, one) == what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1 000", "digits"),
        (r"1, 2, \dots", "dots"),
        ("1, 2, ...", "dots"),
        ("1,2", None),
        (r"1 \frac12", None),
        (r"\frac 1 2", None),
        ("", None),
    ],
)
def test_what_is_misread_is_named(text: str, what: str | None) -> None:
    said = misread(text)
    assert said is None if what is None else said is not None and what in said
