"""The symbolic stage itself, without a worker around it: tables of pairs and what they are."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
import sympy

from timetrial_plugins.grading.as_sympy import NoForm, as_sympy
from timetrial_plugins.grading.closed_form import closed_form
from timetrial_plugins.grading.expression import Node, parse
from timetrial_plugins.grading.notation import normalise, tokenize
from timetrial_plugins.grading.symbolic import compare, judge

EQUAL = [
    ("x", "x"),
    ("(x+1)^2", "x^2+2x+1"),
    (r"\frac{x^2-1}{x-1}", "x+1"),
    (r"\sin^2 x", r"1-\cos^2 x"),
    ("x^x", r"e^{x\ln x}"),
    ("f(x+1)", "f(1+x)"),
    (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
    ("x^{1/3}", r"\sqrt[3]{x}"),
    # numbers: radicals, logarithms, complex ones
    (r"\sqrt{5+2\sqrt6}", r"\sqrt2+\sqrt3"),
    (r"\frac{1}{\sqrt2-1}", r"1+\sqrt2"),
    (r"\log_2 8", "3"),
    ("(-8)^{1/3}", "-2"),
    (r"\sqrt[3]{-8}", "-2"),
    (r"\sqrt{-3}", r"i\sqrt3"),
    (r"e^{i\pi}+1", "0"),
    (r"\lfloor\pi\rfloor", "3"),
    (r"\cos 36^\circ", r"\frac{1+\sqrt5}{4}"),
    # too long to compute, and alike
    ("2^{10^{10}}+1", "1+2^{10^{10}}"),
    (r"\frac{10000000!}{2}", r"10000000! \cdot \frac12"),
    ("(-2)^{10^{10}+1}", "-2^{10^{10}+1}"),
    # equal wherever both are real
    (r"\ln(x^2)", r"2\ln x"),
    ("(x^3)^{1/3}", "x"),
    # both signs
    (r"1\pm\sqrt2", r"1\mp\sqrt2"),
    (r"\pm 0", "0"),
]

DIFFERENT = [
    ("x", "y"),
    ("x+y", "x+z"),
    ("x", "2x"),
    ("x+1", "x+2"),
    ("2x", "5"),
    ("(x+1)^2", "x^2+1"),
    (r"\pi", r"\pi+10^{-60}"),
    (r"\sqrt2", "1.41421356"),
    ("10^{-30}", "2 \\cdot 10^{-30}"),
    ("i", "-i"),
    ("1+i", "1"),
    ("2^{10^{10}}+1", "2^{10^{10}}+2"),
    ("10000000!", "10000000!+1"),
    (r"\sin(10^{300})", "0.5"),
    ("(a+b+c+d)^{60}", "(a+b+c+d)^{59}"),
    ("a-b", "|a-b|"),
    (r"1\pm\sqrt2", r"1\pm\sqrt3"),
    (r"1\pm\sqrt2", r"1+\sqrt2"),
]

OPEN = [
    ("x", "|x|", "equal for positive values of the names only"),
    (r"\sqrt x\sqrt y", r"\sqrt{xy}", "equal for positive values of the names only"),
    ("f(x)", "f(y)", "neither"),
    ("(-1)^n", r"\cos(n\pi)", "neither"),  # equal for integers, and n may be one
    ("x", r"\lfloor x\rfloor", "neither"),
    ("2^{2^{2^{64}}}", "17", "neither"),
    (r"\frac{1}{0}", "5", "division by zero"),
    (r"\tan\frac{\pi}{2}", "3", "without a value"),
]


def tree(text: str) -> Node:
    return parse(tokenize(normalise(text)))


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_formulas_are_brought_to_zero_in_either_order(one: str, other: str) -> None:
    assert compare(tree(one), tree(other)) == compare(tree(other), tree(one)) == "equal"


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_formulas_with_other_values_are_different_in_either_order(one: str, other: str) -> None:
    assert compare(tree(one), tree(other)) == compare(tree(other), tree(one)) == "different"


@pytest.mark.parametrize(("one", "other", "why"), OPEN)
def test_what_is_not_certain_stays_open_in_either_order(one: str, other: str, why: str) -> None:
    for pair in ((one, other), (other, one)):
        said = judge(*pair, True)
        assert said["correct"] is None
        assert said["reason"].startswith("undecided: ")
        assert why in said["reason"]


def test_positive_names_are_enough_only_where_the_policy_says_so() -> None:
    assert judge(r"\ln(x^2)", r"2\ln x", True) == {"correct": True, "reason": None}
    assert judge(r"\ln(x^2)", r"2\ln x", False) == {
        "correct": None,
        "reason": "undecided: equal for positive values of the names only",
    }


def test_what_cannot_be_read_is_not_understood() -> None:
    assert judge("5", r"\frac{1}{", True)["reason"].startswith("not understood: ")


def test_different_representatives_are_never_equal() -> None:
    """One formula of each class below; every pair of classes differs, by a relative 1e-8 at the least."""
    classes = ["x", "x+1", "x^2", "2x", r"\sqrt{x^2+1}", "x+10^{-8}", r"\sin x", "|x|+2", "e^x", "xy", "1", r"\pi", "i"]
    for one, other in itertools.combinations(classes, 2):
        assert compare(tree(one), tree(other)) == "different", (one, other)


def number(value: int | str) -> Node:
    return ("number", Fraction(value))


K, N, X, INFINITY = ("name", "k"), ("name", "n"), ("name", "x"), ("infinity",)
CLOSED: list[tuple[Node, str]] = [
    (("sum", "k", number(1), number(10**8), K), "5000000050000000"),
    (("sum", "k", number(0), number(5000), ("^", number(2), K)), "2^{5001}-1"),
    (("sum", "k", number(1), number(4), ("sum", "j", number(1), K, ("name", "j"))), "20"),
    (("sum", "k", number(1), N, K), r"\frac{n(n+1)}{2}"),
    (("sum", "k", number(1), INFINITY, ("/", number(1), ("^", K, number(2)))), r"\frac{\pi^2}{6}"),
    (("sum", "k", number(0), INFINITY, ("^", number("1/3"), K)), "1.5"),
    (("sum", "i", number(1), number(3), ("constant", "i")), "6"),
    (("product", "k", number(1), number(10), K), "3628800"),
    (("integral", "y", number(0), number(1), ("integral", "x", number(0), ("name", "y"), X)), r"\frac16"),
    (("integral", "x", number(0), number(1), ("^", X, number(2))), r"\frac13"),
    (("integral", "x", number(0), ("constant", "pi"), ("call", "sin", X)), "2"),
    (("integral", "x", ("-", INFINITY), INFINITY, ("call", "exp", ("-", ("^", X, number(2))))), r"\sqrt\pi"),
    (("limit", "x", number(0), "", ("/", ("call", "sin", X), X)), "1"),
    (("limit", "x", number(0), "+", ("/", ("call", "abs", X), X)), "1"),
    (("limit", "x", number(0), "-", ("/", ("call", "abs", X), X)), "-1"),
    (("limit", "n", INFINITY, "", ("^", ("+", number(1), ("/", number(1), N)), N)), "e"),
]


@pytest.mark.parametrize(("node", "value"), CLOSED, ids=[value for _, value in CLOSED])
def test_sums_products_integrals_and_limits_equal_their_closed_forms(node: Node, value: str) -> None:
    assert compare(node, tree(value)) == "equal"
    assert compare(tree(value + "+10^{-5}"), node) == "different"


def test_the_spelling_of_a_bound_name_does_not_count() -> None:
    sums = [("sum", name, number(1), N, ("call", "applied f", ("name", name))) for name in ("k", "j")]
    assert compare(*sums) == "equal"


@pytest.mark.parametrize(
    "node",
    [
        ("sum", "k", number(1), INFINITY, ("/", number(1), K)),
        ("integral", "x", number(-1), number(1), ("/", number(1), X)),
        ("limit", "x", number(0), "", ("/", ("call", "abs", X), X)),
        ("limit", "x", number(0), "", ("call", "sin", ("/", number(1), X))),
        ("limit", "n", INFINITY, "", N),
        ("sum", "k", number(1), number(10**8), ("call", "sin", ("^", K, number(2)))),
        ("product", "k", number(1), number(10**6), K),
    ],
    ids=["diverges", "has a pole", "has two sides", "oscillates", "is infinite", "is a long sum", "is a long product"],
)
def test_what_has_no_value_or_too_long_a_one_has_no_closed_form(node: Node) -> None:
    with pytest.raises(NoForm):
        closed_form(as_sympy(node))


def test_a_closed_form_that_numbers_speak_against_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if sympy had taken the wrong branch."""
    monkeypatch.setattr(sympy.Integral, "doit", lambda self, **hints: sympy.Integer(7))
    with pytest.raises(NoForm, match="not confirmed"):
        closed_form(as_sympy(("integral", "x", number(0), number(1), X)))
