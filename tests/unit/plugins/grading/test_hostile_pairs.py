"""Answers made to hang, crash or fool a grader: sympy and math-verify answer each in time, and never with "equal".

Real processes. Beside each answer stands a gold answer that it does not equal.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import pytest

from timetrial.record import Verdict
from timetrial_plugins.grading.math_verify import load
from timetrial_plugins.grading.opinion import symbolic_verdict

WITHIN_S = 2.5
"""For a question to a process that has been started; its limit is below two seconds."""

Judge = Callable[[str, str], Verdict]


def _matrix(rows: int, cell: str) -> str:
    cells = [[cell.format(i=i, j=j) for j in range(rows)] for i in range(rows)]
    return r"\begin{pmatrix}" + r"\\".join("&".join(row) for row in cells) + r"\end{pmatrix}"


HOSTILE = {
    "tower of nines": ("17", "9^{9^9}"),
    "tower of tens": ("17", "10^{10^{10}}"),
    "factorial of a tower": ("17", "10^{10^{10}}!"),
    "large factorial": ("17", "10000000!"),
    "tower of three": ("17", "3^{20^6}"),
    "tower of twos": ("17", "2^{2^{64}}"),
    "taller tower of twos": ("17", "2^{2^{2^{64}}}"),
    "long rational exponent": ("17", r"4^{123456789/98765432123456789}"),
    "long sum": ("17", r"\sum_{k=1}^{100000000} \sin(k^2)"),
    "long product": ("17", r"\prod_{k=1}^{1000000} k"),
    "huge binomial": ("17", r"\binom{1000000000}{500000000}"),
    "large binomial": ("17", r"\binom{1000000}{500000}"),
    "expanded powers": ("(a+b+c+d)^{60}+1", "(a+b+c+d+e)^{60}"),
    "symbolic determinant": ("x", r"\det" + _matrix(9, "a_{{{i}{j}}}")),
    "symbolic inverse": ("x", _matrix(12, "a_{{{i}{j}}}") + "^{-1}"),
    "large matrix": ("17", _matrix(100, "{i}{j}")),
    "nested braces": ("17", "{" * 1000 + "1" + "}" * 1000),
    "nested parentheses": ("17", "(" * 1000 + "1" + ")" * 1000),
    "continued fraction": ("17", r"1+\frac{1}{" * 50 + "1" + "}" * 50),
    "many terms": ("17", "+".join(["1"] * 50_000)),
    "many spaces": ("17", r"\boxed{" + " " * 100_000 + "1}"),
    "many elements": ("17", ",".join(map(str, range(10_000)))),
    "Fermat": ("17", "x^{50}+y^{50}=z^{50}"),
    "integral without a closed form": ("17", r"\int_0^1 e^{\sin(x^x)} dx"),
    "many digits": ("17", "9" * 100_000),
    "NUL": ("17", "\x00"),
    "lone surrogate": ("17", "\ud800"),
    "right to left": ("17", "\u202e71"),
    "emoji": ("17", "\U0001f600"),
    "many dollars": ("17", "$" * 100_000),
    "many backslashes": ("17", "\\" * 100_000),
    "code": ("17", '__import__("os").system("true")'),
    "huge exponent": ("17", "1e999999999"),
    "huge angle": ("17", r"\sin(10^{300})"),
    "many factorials": ("17", "3" + "!" * 900),
    "many exponents": ("17", "x" + "^2" * 300),
}


def assert_harmless(judge: Judge, gold: str, answer: str) -> None:
    for pair in ((gold, answer), (answer, gold)):
        assert judge("x+x", "2x").correct is True
        start = time.perf_counter()
        said = judge(*pair)
        assert time.perf_counter() - start < WITHIN_S
        assert said.correct is not True
        assert said.correct is False or said.reason


@pytest.mark.parametrize("pair", HOSTILE.values(), ids=HOSTILE)
def test_sympy_answers_in_time_and_never_with_equal(pair: tuple[str, str]) -> None:
    assert_harmless(symbolic_verdict, *pair)


needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)


@needs_math_verify
@pytest.mark.slow
@pytest.mark.parametrize("pair", HOSTILE.values(), ids=HOSTILE)
def test_math_verify_answers_in_time_and_never_with_equal(pair: tuple[str, str]) -> None:
    assert_harmless(load().grade, *pair)


@needs_math_verify
@pytest.mark.parametrize("name", ["large factorial", "huge binomial"])
def test_what_takes_math_verify_too_long_is_timed_out_and_the_next_question_answered(name: str) -> None:
    judge = load().grade
    reason = judge(*HOSTILE[name]).reason
    assert reason is not None and reason.startswith("timed out: ")
    assert judge("1/2", "0.5").correct is True
