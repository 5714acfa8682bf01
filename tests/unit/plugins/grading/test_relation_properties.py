r"""Spellings of one meaning have one class, different meanings have different ones, and no text makes anything raise.

A meaning is a nested tuple, which `Speller` writes in one of many ways and `oracle` tells from others by a value that
is computed without the grader:

    ("integer", n)   ("fraction", p, q)   ("root", a, b): a times the root of b   ("pi", p, q): p pi / q   ("name", "x")
    ("sum", m, ...)   ("product", m, ...)   ("power", m, n)
    ("tuple", m, ...)   ("set", m, ...)   ("interval", "(", "]", m, m)   ("matrix", (m, ...), ...)
    ("equation", m): y = m   ("unit", m, "cm")   ("text", "east")
"""

from __future__ import annotations

import random
import tempfile
from fractions import Fraction
from pathlib import Path

import mpmath
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from timetrial_plugins.grading import answer_class, cluster, extract_answer, grade

# The same examples on every machine, and nothing written to the repository.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")
SETTINGS = settings(
    derandomize=True, database=None, deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow]
)

NAMES = "xzntkab"
WORDS = ("east", "parallel", "Alice", "ellipse", "odd", "Tuesday")
UNITS = {"cm": ("cm", "centimeters"), "kg": ("kg", "kilograms"), "m^2": ("m^2", "square meters")}
STYLES = ("math", "gsm8k", "nutshell", "loose")
REAL_ANSWERS = (
    r"\left( 3, \frac{\pi}{2} \right)", r"11\sqrt2", "10,080", r"\$18.90", r"(-\infty, 2) \cup (3, \infty)", "6 - 5i",
    r"\text{Evelyn}", r"\begin{pmatrix} -\frac{1}{3} \\ \frac{2}{3} \end{pmatrix}", r"x \in [-2,7]", "2516_8", r"50\%",
    r"y = 2x + 3", r"3 \pm 2 \sqrt{2}", r"864 \mbox{ inches}^2", r"1,-2", r"\{1\pm\sqrt{5},-2\}", r"x^3+3x-6", "4:30",
    r"0.\overline{3}", r"2 \frac{2}{3}", r"\sin^2 x", r"\binom{10}{3}", r"9^{9^9}", r"f(x) = \lfloor x \rfloor", "(A)",
)  # fmt: skip

integers = st.integers(-9_999, 9_999_999).map(lambda n: ("integer", n))
fractions = st.tuples(st.integers(-40, 40).filter(bool), st.integers(2, 16)).map(lambda pair: ("fraction", *pair))
roots = st.tuples(st.integers(-9, 9).filter(bool), st.sampled_from((2, 3, 5, 6, 7, 10))).map(lambda p: ("root", *p))
multiples_of_pi = st.tuples(st.integers(-9, 9).filter(bool), st.integers(1, 6)).map(lambda pair: ("pi", *pair))
names = st.sampled_from(NAMES).map(lambda name: ("name", name))
constants = st.one_of(integers, fractions, roots, multiples_of_pi)
formulas = st.recursive(
    st.one_of(st.integers(-20, 20).map(lambda n: ("integer", n)), fractions, roots, names),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: ("sum", *parts)),
        st.lists(inner, min_size=2, max_size=2).map(lambda parts: ("product", *parts)),
        st.tuples(st.one_of(names, inner), st.integers(2, 3)).map(lambda pair: ("power", *pair)),
    ),
    max_leaves=5,
)
elements = st.lists(constants, min_size=2, max_size=4)
brackets = st.tuples(st.sampled_from("(["), st.sampled_from(")]"))
rows = st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[constants] * width), min_size=2, max_size=3))
meanings = st.one_of(
    constants,
    formulas,
    elements.map(lambda parts: ("tuple", *parts)),
    st.lists(constants, min_size=2, max_size=4, unique_by=lambda part: oracle(part)).map(lambda parts: ("set", *parts)),
    st.tuples(brackets, constants, constants)
    .filter(lambda parts: value(parts[1]) < value(parts[2]))
    .map(lambda parts: ("interval", *parts[0], *parts[1:])),
    rows.map(lambda parts: ("matrix", *parts)),
    st.tuples(names, formulas).map(lambda pair: ("equation", ("sum", *pair))),
    st.tuples(constants, st.sampled_from(sorted(UNITS))).map(lambda pair: ("unit", *pair)),
    st.sampled_from(WORDS).map(lambda word: ("text", word)),
)
seeds = st.integers(0, 2**32)
any_text = st.text(st.characters(codec=None), max_size=80)
latex = st.lists(
    st.sampled_from(
        r"\frac \sqrt \text \left( \right) \{ \} { } ( ) [ ] ^ _ , ; = < > \le \in \cup \pm \pi \infty \log \sin ! %"
        r" + - * / | & \\ \begin{pmatrix} \end{pmatrix} \overline . : ' 0 1 2 12 0.5 1e5 x y e i f(x) AB cm and or $"
        r" ~ \circ \lfloor \rfloor \binom \approx \ne \cdot".split()
    ),
    max_size=14,
).map("".join)


class Speller:
    """Write meanings in LaTeX or plain text, each time in another way."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def one_of(self, *spellings: str) -> str:
        return self.random.choice(spellings)

    def answer(self, meaning: tuple) -> str:
        plain = self.spell(meaning)
        if meaning[0] == "integer" and abs(meaning[1]) > 999:
            plain = self.one_of(plain, f"{meaning[1]:,}")  # between other numbers such a comma would separate
        return self.one_of(
            plain, plain, f"${plain}$", f" {plain} ", f"{{{plain}}}", f"{plain}.", rf"\displaystyle {plain}"
        )

    def spell(self, meaning: tuple) -> str:
        return getattr(self, meaning[0])(*meaning[1:])

    def integer(self, number: int) -> str:
        return self.one_of(f"{number}", f"{number}", f"{number:,}".replace(",", "{,}"), f"{number}.0")

    def fraction(self, numerator: int, denominator: int) -> str:
        sign, p, q = "-" * (numerator < 0), abs(numerator), denominator
        k = self.random.randint(2, 9)
        bars = [
            rf"{sign}\{bar}{{{n}}}{{{d}}}" for bar in ("frac", "dfrac", "tfrac") for n, d in ((p, q), (k * p, k * q))
        ]
        others = [f"{sign}{p}/{q}", rf"\frac{{{sign}{p}}}{{{q}}}", rf"{sign}\frac{{{p}}} {{ {q} }}"]
        if p > q and p % q:
            others += [rf"{sign}{p // q}\frac{{{p % q}}}{{{q}}}", f"{sign}{p // q} {p % q}/{q}"]
        if 10**6 * p % q == 0:
            others.append(f"{sign}{p * 10**6 // q / 10**6}")
        return self.one_of(*bars, *others)

    def root(self, factor: int, radicand: int) -> str:
        sign, size = "-" * (factor < 0), abs(factor)
        front = "" if size == 1 else str(size)
        spellings = [rf"{sign}{front}\sqrt{{{radicand}}}", rf"{sign}\sqrt{{{size * size * radicand}}}"]
        spellings += [rf"{sign}{size} \cdot \sqrt{{ {radicand} }}", f"{sign}{front}sqrt({radicand})"]
        spellings += [rf"{sign}{size}({radicand})^{{1/2}}", rf"{sign}\frac{{{size * radicand}}}{{\sqrt{{{radicand}}}}}"]
        return self.one_of(*spellings)

    def pi(self, numerator: int, denominator: int) -> str:
        p, q = numerator, denominator
        spellings = [
            rf"\frac{{{p}\pi}}{{{q}}}",
            rf"{p}\pi/{q}",
            rf"\frac{{{p}}}{{{q}}}\pi",
            rf"\dfrac{{{p} \pi}}{{{q}}}",
        ]
        return self.one_of(*spellings)

    def name(self, name: str) -> str:
        return name

    def sum(self, *terms: tuple) -> str:
        spelled = [self.spell(term) for term in self.random.sample(terms, len(terms))]
        return spelled[0] + "".join(term if term[0] == "-" else self.one_of("+", " + ") + term for term in spelled[1:])

    def product(self, *factors: tuple) -> str:
        spelled = [self.factor(factor) for factor in self.random.sample(factors, len(factors))]
        sign = self.one_of(r" \cdot ", r"\times ", "*")
        is_clear = spelled[1][0] in "(" + NAMES and not "".join(spelled).isalpha()  # xz alone might be a word
        return self.one_of("", " ", sign).join(spelled) if is_clear else sign.join(spelled)

    def factor(self, meaning: tuple) -> str:
        if meaning[0] == "name" or meaning[0] == "integer" and meaning[1] >= 0:
            return str(meaning[1])
        return self.one_of("({})", r"\left({}\right)").format(self.spell(meaning))

    def power(self, base: tuple, exponent: int) -> str:
        spelled = self.factor(base)
        return self.one_of(f"{spelled}^{exponent}", f"{spelled}^{{{exponent}}}", "*".join([spelled] * exponent))

    def tuple(self, *parts: tuple) -> str:
        inner = self.one_of(", ", ",", " , ").join(self.spell(part) for part in parts)
        return self.one_of(f"({inner})", rf"\left( {inner} \right)")

    def set(self, *parts: tuple) -> str:
        spelled = [self.spell(part) for part in self.random.sample(parts, len(parts))]
        inner = ", ".join(spelled)
        bare = [", ".join(spelled[:-1]) + rf" \text{{ and }} {spelled[-1]}", inner]
        return self.one_of(rf"\{{{inner}\}}", rf"\left\{{ {inner} \right\}}", *bare)

    def interval(self, opening: str, closing: str, low: tuple, high: tuple) -> str:
        a, b = self.spell(low), self.spell(high)
        left, right = ("<" if opening == "(" else r"\le "), ("<" if closing == ")" else r"\leq ")
        plain = [f"{opening}{a}, {b}{closing}", rf"\left{opening} {a},{b} \right{closing}"]
        return self.one_of(*plain, rf"x \in {plain[0]}", f"{a} {left} x {right} {b}")

    def matrix(self, *rows: tuple) -> str:
        body = self.one_of(r" \\ ", r"\\").join(" & ".join(self.spell(cell) for cell in row) for row in rows)
        kind = self.one_of("pmatrix", "bmatrix")
        return rf"\begin{{{kind}}} {body} \end{{{kind}}}"

    def equation(self, side: tuple) -> str:
        spelled = self.spell(side)
        return self.one_of(
            f"y = {spelled}", f"y={spelled}", f"{spelled} = y", f"y - ({spelled}) = 0", f"2y = 2({spelled})"
        )

    def unit(self, number: tuple, unit: str) -> str:
        short, long = UNITS[unit]
        return self.spell(number) + self.one_of(rf"\text{{ {short}}}", rf" \mathrm{{{short}}}", f" {long}")

    def text(self, word: str) -> str:
        return self.one_of(word, word.upper(), rf"\text{{{word}}}", rf"\textbf{{{word}}}", rf"\text{{ {word} }}")


def value(meaning: tuple) -> mpmath.mpf:
    """Return the value of a formula where names are roots of primes, which the grader does not know of."""
    tag, *parts = meaning
    with mpmath.workdps(50):
        if tag == "integer":
            return mpmath.mpf(parts[0])
        if tag == "fraction":
            return mpmath.mpf(parts[0]) / parts[1]
        if tag == "root":
            return parts[0] * mpmath.sqrt(parts[1])
        if tag == "pi":
            return parts[0] * mpmath.pi / parts[1]
        if tag == "name":
            return mpmath.sqrt((11, 13, 17, 19, 23, 29, 31)[NAMES.index(parts[0])]) / 3
        if tag == "power":
            return value(parts[0]) ** parts[1]
        values = [value(part) for part in parts]
        return mpmath.fsum(values) if tag == "sum" else mpmath.fprod(values)


def oracle(meaning: tuple) -> object:
    """Return something that two meanings share if and only if they are the same answer."""
    tag, *parts = meaning
    if tag in ("tuple", "interval") and len(parts) == 2 or meaning[:3] == ("interval", "(", ")"):
        return ("pair", *map(oracle, parts[-2:]))  # an open interval is written as a pair is
    if tag == "set":
        return ("set", frozenset(map(oracle, parts)))
    if tag == "tuple":
        return ("tuple", *map(oracle, parts))
    if tag == "interval":
        return ("interval", parts[0], parts[1], oracle(parts[2]), oracle(parts[3]))
    if tag == "matrix":
        return ("matrix", *(tuple(map(oracle, row)) for row in parts))
    if tag in ("equation", "unit"):
        return (tag, oracle(parts[0]), *parts[1:])
    if tag == "text":
        return meaning
    number = value(meaning)
    return "0" if abs(number) < mpmath.mpf("1e-30") else mpmath.nstr(number, 25)


def changed(meaning: tuple, picked: random.Random) -> tuple:
    """Return the meaning with one number, name, bracket or word in it replaced."""
    places = [place for place, part in enumerate(meaning) if place > 0]
    place = picked.choice(places)
    part = meaning[place]
    if isinstance(part, tuple):
        new: object = (
            changed(part, picked) if isinstance(part[0], str) else tuple(changed(cell, picked) for cell in part)
        )
    elif isinstance(part, int):
        new = part + 1
    else:
        same_kind = next(kind for kind in (NAMES, WORDS, "([", ")]", tuple(UNITS)) if part in kind)
        new = same_kind[(same_kind.index(part) + 1) % len(same_kind)]
    return (*meaning[:place], new, *meaning[place + 1 :])


@SETTINGS
@given(meanings, seeds, seeds)
def test_two_spellings_of_one_meaning_have_one_class_and_are_graded_equal(meaning, one, other):
    first, second = Speller(one).answer(meaning), Speller(other).answer(meaning)
    assert answer_class(first) == answer_class(second)
    assert grade(first, second).correct is True


@SETTINGS
@given(meanings, meanings, seeds)
def test_members_of_one_class_have_one_verdict_under_every_gold(meaning, gold_meaning, seed):
    speller = Speller(seed)
    members = [speller.answer(meaning) for _ in range(4)]
    for gold in (
        speller.answer(gold_meaning),
        speller.spell(("tuple", *meaning[1:])) if meaning[0] == "set" else "0.3333",
    ):
        verdicts = {(answer_class(member), grade(gold, member).correct) for member in members}
        assert len(verdicts) == len({text_class for text_class, _ in verdicts})


@SETTINGS
@given(meanings, meanings, seeds)
def test_two_meanings_have_two_classes(one, other, seed):
    assume(oracle(one) != oracle(other))
    assert answer_class(Speller(seed).answer(one)) != answer_class(Speller(seed + 1).answer(other))


@SETTINGS
@given(meanings, seeds)
def test_a_changed_leaf_changes_the_class(meaning, seed):
    other = changed(meaning, random.Random(seed))
    assume(oracle(meaning) != oracle(other))
    assert answer_class(Speller(seed).answer(meaning)) != answer_class(Speller(seed + 1).answer(other))


@SETTINGS
@given(st.lists(st.one_of(meanings, meanings, st.just(("integer", 1))), min_size=2, max_size=8), seeds)
def test_clusters_are_the_classes_whatever_the_order(several, seed):
    speller = Speller(seed)
    answers = [speller.answer(meaning) for meaning in several for _ in range(2)]
    numbers = cluster(answers)
    order = speller.random.sample(range(len(answers)), len(answers))
    shuffled = dict(zip(order, cluster([answers[place] for place in order]), strict=True))
    for i in range(len(answers)):
        for j in range(i):
            together = numbers[i] == numbers[j]
            assert together == (answer_class(answers[i]) == answer_class(answers[j]))
            assert together == (shuffled[i] == shuffled[j])
            assert together == (oracle(several[i // 2]) == oracle(several[j // 2]))


@SETTINGS
@given(st.one_of(any_text, latex), st.one_of(any_text, latex))
def test_equal_classes_are_graded_equal_both_ways(one, other):
    for first, second in ((one, one), (one, other), (one, f" {one} ")):
        if first.strip() and second.strip() and answer_class(first) == answer_class(second):
            assert grade(first, second).correct is True
            assert grade(second, first).correct is True


@SETTINGS
@given(st.fractions(max_denominator=999), st.fractions(max_denominator=999), seeds)
def test_rational_numbers_are_equal_exactly_when_they_are(one, other, seed):
    spellings = []
    for number in (one, other):
        number = Fraction(number) % 1000
        exact = ("fraction", number.numerator, number.denominator) if number.denominator > 1 else ("integer", number)
        spellings.append(rf"\frac{{{number.numerator * 7}}}{{{number.denominator * 7}}}")
        spellings.append(Speller(seed).spell(exact) if exact[0] == "fraction" else str(number))
    for first in spellings[:2]:
        for second in spellings[2:]:
            assert grade(first, second).correct is (one % 1000 == other % 1000)
            assert grade(second, first).correct is (one % 1000 == other % 1000)


@SETTINGS
@given(st.one_of(any_text, latex))
def test_the_class_of_a_class_is_itself(text):
    text_class = answer_class(text)
    assert answer_class(text_class) == text_class == answer_class(text)


@SETTINGS
@given(st.one_of(any_text, latex), st.sampled_from(REAL_ANSWERS))
def test_no_text_makes_grading_raise_and_nothing_is_equal_to_an_empty_answer(text, gold):
    assert grade(gold, text).correct in (True, False, None)
    assert grade(text, gold).correct in (True, False, None)
    assert grade(text, "").correct is not True
    assert grade("", text).correct is not True
    assert cluster([text, None, "", "  ", gold])[1:4] == [-1, -1, -1]


@SETTINGS
@given(st.one_of(any_text, latex), st.sampled_from(STYLES), st.sampled_from(REAL_ANSWERS))
def test_extraction_gives_text_or_none_and_finds_a_box_whatever_stands_before(text, style, answer):
    for completion in (text, text + r"\boxed{", rf"\boxed{{{text}}}", f"The final answer is {text}"):
        found = extract_answer(completion, style)
        assert found is None or found.strip() == found != ""
    if "<think>" not in text and not text.endswith("\\"):
        boxed = extract_answer(f"{text}\nThus \\boxed{{{answer}}}.", "math")
        assert boxed is not None and boxed.endswith(answer)


@SETTINGS
@given(st.sampled_from(REAL_ANSWERS), seeds)
def test_a_damaged_answer_is_graded_without_raising_and_alike_each_time(answer, seed):
    picked = random.Random(seed)
    damaged = list(answer)
    for _ in range(picked.randint(1, 4)):
        place = picked.randrange(len(damaged) + 1)
        damaged[place : place + picked.randint(0, 2)] = picked.choice(
            ("", "{", "}", "\\", "\x00", "\ud800", "-", "1", ",")
        )
        damaged = list("".join(damaged)) or ["0"]
    text = "".join(damaged)
    assert grade(answer, text) == grade(answer, text)
    if answer_class(text) == answer_class(answer):
        assert grade(answer, text).correct is True


@pytest.mark.parametrize("answer", REAL_ANSWERS)
def test_real_answers_are_equal_to_themselves_and_to_no_other(answer):
    assert [other for other in REAL_ANSWERS if grade(answer, other).correct] == [answer]
