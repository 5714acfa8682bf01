"""Inputs that hang, crash or fool graders: each is read and judged at once, within bounds, and never wrongly equal."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from timetrial_plugins.grading import answer_class, cluster, grade, key
from timetrial_plugins.grading.key import read

MAX_SECONDS = 2
MAX_BYTES = 50_000_000

HOSTILE = {
    "power tower": "9^{9^9}",
    "tower of tens": "10^{10^{10}}",
    "factorial of a tower": "10^{10^{10}}!",
    "factorial": "10000000!",
    "power": "3^{20^6}",
    "power of a power": "2^{2^{64}}",
    "four storeys": "2^{2^{2^{64}}}",
    "open tower": "9^9^9^9^9",
    "huge rational exponent": "4^{123456789/98765432123456789}",
    "sum of 1e8 terms": r"\sum_{k=1}^{100000000} k",
    "product of 1e6 factors": r"\prod_{k=1}^{1000000} k",
    "binomial of 1e9": r"\binom{1000000000}{500000000}",
    "binomial of 1e6": r"\binom{1000000}{500000}",
    "expansion": "(a+b+c+d)^{60}",
    "1000 braces": "{" * 1000 + "1" + "}" * 1000,
    "400 parentheses": "(" * 400 + "1" + ")" * 400,
    "100 braces": "{" * 100 + "1" + "}" * 100,
    "49 parentheses": "(" * 49 + "18" + ")" * 49,
    "400 terms": "+".join(["1"] * 400),
    "999 terms": "+".join(["1"] * 999),
    "900 signs": "-" * 900 + "1",
    "900 factorials": "2" + "!" * 900,
    "300 exponents": "x" + "^2" * 300,
    "49 roots": r"\sqrt{" * 49 + "2" + "}" * 49,
    "100k spaces": " " * 100_000 + "1",
    "10,000 elements": ",".join(map(str, range(10_000))),
    "400 elements": ",".join(map(str, range(400))),
    "200 irrational elements": ",".join(rf"\pi^{{{n}}}" for n in range(200)),
    "nested sets": "{" * 40 + "1,2" + ",3}" * 40,
    "nested tuples": "(" * 40 + "1,2" + ",3)" * 40,
    "100k digits": "9" * 100_000,
    "1999 digits": "9" * 1_999,
    "1500 decimals": "0." + "1" * 1_500,
    "1e999999999": "1e999999999",
    "sine of 1e300": r"\sin(10^{300})",
    "100 plus-minus signs": "1" + r"\pm 1" * 100,
    "500 bars": "|" * 500 + "x" + "|" * 500,
    "300 text commands": r"\text{" * 300,
    "continued fraction": "1" + "/(1+1" * 49 + ")" * 49,
    "a list that goes on": "1,2,...,999999999999",
    "a period that never ends": "0." + "12" * 900 + "...",
    "thousands": "1" + ",000" * 400,
    "NUL": "\x00",
    "lone surrogate": "\ud800",
    "right-to-left mark": "\u202e5",
    "emoji": "\U0001f600" * 100,
    "1999 dollars": "$" * 1_999,
    "100k dollars": "$" * 100_000,
    "1999 backslashes": "\\" * 1_999,
    "code": '__import__("os").system("true")',
    "more code": "().__class__.__bases__[0].__subclasses__()",
    "a row of 200": r"\begin{pmatrix}" + "1&" * 200 + r"1\end{pmatrix}",
    "determinant 8 x 8": r"\begin{vmatrix}" + r"\\".join(["a&b&c&d&e&f&g&h"] * 8) + r"\end{vmatrix}",
    "matrix to the 16th to the 16th": r"((\begin{pmatrix}a&b\\c&d\end{pmatrix}^{16})^{16})^{16}",
    "100 matrices": r"\begin{pmatrix}2\end{pmatrix}" * 80,
    "1000 brackets": "[" * 1_000,
    "a class that is none": '["' * 500,
    "half a class": '["q"]',
    "deep class": '["set",' * 400 + '["q","1"]' + "]" * 400,
    "500 halves": "\u00bd" * 500,
    "bold without end": "**" * 900,
    "1900 spaces between": "1" + " " * 1_900 + "2",
    "commas": "," * 1_900,
    "letters": "x" * 1_900,
    "words": "word " * 390,
    "subscripts": "x_" * 900,
    "relations": "x<" * 600,
    "equals": "1=" * 600 + "1",
    "abs inequality": "|" * 40 + "x" + "|" * 40 + "<1",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_judged_at_once_and_not_equal_to_a_number(name: str) -> None:
    answer = HOSTILE[name]
    start = time.perf_counter()
    verdicts = [grade("17", answer), grade(answer, "17")]
    assert time.perf_counter() - start < 2 * MAX_SECONDS
    assert all(verdict.correct is not True for verdict in verdicts)
    assert all(verdict.reason is None or ":" in verdict.reason for verdict in verdicts)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_read_at_once_and_have_one_class(name: str) -> None:
    answer = HOSTILE[name]
    start = time.perf_counter()
    first = read.__wrapped__(answer)
    assert time.perf_counter() - start < MAX_SECONDS
    assert first == read.__wrapped__(answer)
    assert cluster([answer, answer]) in ([0, 0], [-1, -1])
    assert len(answer_class(answer)) < 20_000
    assert answer_class(answer_class(answer)) == answer_class(answer)
    assert grade(answer, answer).correct is not False


def test_hostile_answers_are_read_in_little_memory() -> None:
    tracemalloc.start()
    try:
        for answer in HOSTILE.values():
            read.__wrapped__(answer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_BYTES


def test_no_two_hostile_answers_are_equal_but_those_that_are() -> None:
    names = list(HOSTILE)
    classes = cluster(HOSTILE[name] for name in names)
    members = {number: {name for name, its in zip(names, classes, strict=True) if its == number} for number in classes}
    shared = [group for number, group in members.items() if number >= 0 and len(group) > 1]
    assert shared == []


def test_a_key_is_made_of_text_alone() -> None:
    def leaves(value: object) -> list[object]:
        return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else [value]

    for answer in HOSTILE.values():
        assert all(isinstance(leaf, str) for leaf in leaves(key(answer)))
