"""What benchmarks/grading.py asks the graders: variants of gold answers, sampled completions, hostile inputs.

Everything is made from the gold answers of MATH-500 or written down here; nothing is read, and nothing knows a grader.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple


class Case(NamedTuple):
    """A pair of answers and what a grader should say of it."""

    gold: str
    answer: str
    equal: bool
    kind: str


EQUAL_GOLDS = (
    ("-2,1", "1,-2"),
    (r"10,\!080", "10080"),
    ("120", r"120^\circ"),
    ("15", r"15\mbox{ cm}^2"),
    (r"2 \sqrt{5}", r"2\sqrt{5}"),
    ("30", r"30^\circ"),
    ("36", r"36^\circ", r"\$36"),
    ("5", "x=5"),
    ("90", r"90^\circ"),
    (r"\frac14", r"\frac{1}{4}"),
)
"""Gold answers of MATH-500 that are spelled differently and mean the same."""

DEBATABLE_GOLDS = ("(-2,1)", "-2,1")
"""A tuple or interval and a list: whether they are equal is a matter of convention."""

NOT_TRANSITIVE = (
    "10", r"10\%", "0.1", "(2,1)", "1,2", "(1,2)", r"\{1,2\}", "[0,1)", r"0\le x<1", "0", "5x=0", "x=0", "AB", "BA",
    "abc", "cab", "0.0000001", "0.0000002", r"5\text{ cm}", r"5\text{ m}", "5", "40_9", "40", r"\pm 3", "3", "-3,3",
)  # fmt: skip
"""Answers on which graders are known to be no equivalence relation."""

_INTEGER = re.compile(r"-?\d+")
_DECIMAL = re.compile(r"-?\d+\.\d+")
_FRACTION = re.compile(r"(-?)\\frac\{(\d+)\}\{(\d+)\}")
_THOUSANDS = re.compile(r"\d,(?:\\!)? ?\d{3}")
_BASE = re.compile(r"(\d+)_\{?(\d+)\}?")
_WORDS = re.compile(r"\\text\{([a-z A-Z]+)\}")
_BRACKETED = re.compile(r"(?:\\left)?([(\[])(.+?)(?:\\right)?([)\]])")
_POWER_OF_UNIT = re.compile(r"(\\(?:text|mbox)\{[^}]*\})\^\{?(\d)\}?")
_SCALAR = re.compile(r"(?!.*(?:[,=<>_&!%$;:]|\\(?:text|mbox|pm|in|cup|circ|begin|le|ge|infty|\{)))[^()\[\]]+")


def variants(golds: Sequence[str]) -> list[Case]:
    """Return spellings of each gold answer that keep its meaning, and answers near it that do not."""
    cases = dict.fromkeys(case for gold in dict.fromkeys(golds) for case in _variants(gold) if case.answer != gold)
    return list(cases)


def _variants(gold: str) -> Iterator[Case]:
    for makers, is_equal in ((_SAME, True), (_OTHER, False)):
        for maker in makers:
            for answer in maker(gold):
                yield Case(gold, answer, is_equal, maker.__name__.strip("_"))


def _dollars(gold: str) -> list[str]:
    return [f"${gold}$", f"  {gold} ", rf"\({gold}\)"]


def _other_fraction_command(gold: str) -> list[str]:
    return [gold.replace(r"\frac", command) for command in (r"\dfrac", r"\tfrac")] if r"\frac" in gold else []


def _spelled_fraction(gold: str) -> list[str]:
    match = _FRACTION.fullmatch(gold)
    if match is None:
        return []
    sign, numerator, denominator = match.group(1), int(match.group(2)), int(match.group(3))
    spellings = [f"{sign}{numerator}/{denominator}", rf"\frac{{{sign}{numerator}}}{{{denominator}}}"]
    spellings += [rf"{sign}\frac{{{2 * numerator}}}{{{2 * denominator}}}", f"{sign}{3 * numerator}/{3 * denominator}"]
    if numerator > denominator:
        whole, rest = divmod(numerator, denominator)
        spellings.append(rf"{sign}{whole}\frac{{{rest}}}{{{denominator}}}")
    if 10**6 % denominator == 0:
        spellings.append(f"{float(Fraction(numerator, denominator)) * (-1 if sign else 1):.6f}".rstrip("0"))
    return spellings


def _spelled_number(gold: str) -> list[str]:
    if _DECIMAL.fullmatch(gold):
        value = Fraction(gold)
        return [gold + "0", rf"\frac{{{value.numerator}}}{{{value.denominator}}}", gold.replace("0.", ".", 1)]
    if not _INTEGER.fullmatch(gold):
        return []
    value = int(gold)
    spellings = [
        f"{value}.0",
        f"{value}.",
        rf"\frac{{{2 * value}}}{{2}}",
        f"{3 * value}/3",
        rf"\text{{{value}}}",
        f"+{value}",
    ]
    spellings += [f"{value:,}", f"{value:,}".replace(",", r",\!"), f"{value:,}".replace(",", "{,}")]
    return [spelling if value >= 0 else spelling.removeprefix("+") for spelling in spellings]


def _unit(gold: str) -> list[str]:
    if not (_INTEGER.fullmatch(gold) or _DECIMAL.fullmatch(gold)):
        return []
    return [rf"{gold}\text{{ cm}}", rf"{gold} \mbox{{ inches}}", f"{gold} units"]


def _assignment(gold: str) -> list[str]:
    return [f"x = {gold}", f"x={gold}"] if _SCALAR.fullmatch(gold) and "x" not in gold else []


def _same_expression(gold: str) -> list[str]:
    if not _SCALAR.fullmatch(gold) or "\\" not in gold and not any(map(str.isalpha, gold)):
        return []
    return [f"({gold})", rf"1 \cdot ({gold})", f"0 + {gold}", f"-(-({gold}))", rf"\frac{{2({gold})}}{{2}}"]


def _spaces(gold: str) -> list[str]:
    if _THOUSANDS.search(gold) or "text" in gold or "mbox" in gold:
        return []
    spaced = re.sub(r"(?<=[^\\])([-+=,])", r" \1 ", gold)
    return [spaced, re.sub(r"(?<=[,])(?!\\)", r"\\ ", gold)]


def _large_brackets(gold: str) -> list[str]:
    match = _BRACKETED.fullmatch(gold)
    return (
        [rf"\left{match[1]}{match[2]}\right{match[3]}", rf"\bigl{match[1]} {match[2]} \bigr{match[3]}"] if match else []
    )


def _reordered(gold: str) -> list[str]:
    if not re.fullmatch(r"[^()\[\]{}]+(?:, ?[^()\[\]{}!]+)+", gold) or _THOUSANDS.search(gold):
        return []
    parts = [part.strip() for part in gold.split(",")]
    return [", ".join(reversed(parts)), r"\{" + ",".join(parts) + r"\}", r" \text{ and } ".join(parts)]


def _words(gold: str) -> list[str]:
    match = _WORDS.fullmatch(gold)
    return [match[1], match[1].upper(), rf"\textbf{{{match[1]}}}", rf"\mathrm{{{match[1]}}}"] if match else []


def _plus_one(gold: str) -> list[str]:
    if _INTEGER.fullmatch(gold):
        return [str(int(gold) + 1), str(int(gold) - 1)]
    return [f"{gold} + 1", rf"{gold} - \frac{{1}}{{1000}}"] if _SCALAR.fullmatch(gold) else []


def _negated(gold: str) -> list[str]:
    if not _SCALAR.fullmatch(gold) or gold == "0":
        return []
    return [gold[1:]] if re.fullmatch(r"-[^-+]+", gold) else [f"-({gold})"]


def _times_ten(gold: str) -> list[str]:
    return [rf"10 \cdot ({gold})", rf"\frac{{{gold}}}{{10}}"] if _SCALAR.fullmatch(gold) and gold != "0" else []


def _other_digit(gold: str) -> list[str]:
    if not (_INTEGER.fullmatch(gold) or _DECIMAL.fullmatch(gold)):
        return []
    return [gold[:-1] + str((int(gold[-1]) + 3) % 10), gold + "1"]


def _inverted(gold: str) -> list[str]:
    match = _FRACTION.fullmatch(gold)
    is_other = match is not None and match[2] != match[3]
    return [rf"{match[1]}\frac{{{match[3]}}}{{{match[2]}}}"] if match is not None and is_other else []


def _other_base(gold: str) -> list[str]:
    match = _BASE.fullmatch(gold)
    return [f"{match[1]}_{{{int(match[2]) + 1}}}", f"{match[1]}1_{{{match[2]}}}", match[1]] if match else []


def _other_power_of_unit(gold: str) -> list[str]:
    return [_POWER_OF_UNIT.sub(rf"\1^{power}", gold) for power in (1, 4)] if _POWER_OF_UNIT.search(gold) else []


def _other_tuple(gold: str) -> list[str]:
    match = _BRACKETED.fullmatch(gold)
    parts = match[2].split(",") if match else []
    if match is None or len(parts) < 2 or any(part.count("{") != part.count("}") for part in parts):
        return []
    others = [f"{match[1]}{','.join([*parts, '7'])}{match[3]}", f"{match[1]}{','.join(parts[:-1])},17{match[3]}"]
    if len(set(parts)) > 1:
        others.append(f"{match[1]}{','.join([parts[-1], *parts[1:-1], parts[0]])}{match[3]}")
    return others


def _other_words(gold: str) -> list[str]:
    return [r"\text{Zebedee}", "17"] if _WORDS.fullmatch(gold) else []


_SAME = (
    _dollars, _other_fraction_command, _spelled_fraction, _spelled_number, _unit, _assignment, _same_expression,
    _spaces, _large_brackets, _reordered, _words,
)  # fmt: skip
_OTHER = (
    _plus_one, _negated, _times_ten, _other_digit, _inverted, _other_base, _other_power_of_unit, _other_tuple,
    _other_words,
)  # fmt: skip


class Sampled(NamedTuple):
    """The completions of one problem, with repetition as it is in samples of a small model."""

    gold: str
    texts: list[str]


def sampled_completions(golds: Sequence[str], samples: int, seed: int = 0) -> list[Sampled]:
    """Draw completions: few answers of a problem are frequent and many are rare; some texts are cut before theirs."""
    generator = random.Random(seed)
    pool = list(dict.fromkeys(golds))
    problems = []
    for gold in golds:
        near = [case.answer for case in _variants(gold)]
        distinct = [gold, *generator.sample(near, min(5, len(near)))]
        distinct += [_wrong_answer(generator, pool) for _ in range(36)]
        weights = [generator.random() / (rank + 1) ** 1.2 for rank in range(len(distinct))]
        texts = [_completion(answer) for answer in distinct] + ["We compute 3 + 4 = 7 and then $7 \\cdot 2 = "]
        chosen = generator.choices(texts, [*weights, 0.08 * sum(weights)], k=samples)
        problems.append(Sampled(gold, chosen))
    return problems


def _wrong_answer(generator: random.Random, pool: Sequence[str]) -> str:
    """Return what a small model might answer: mostly a number, mostly a short one."""
    number = int(10 ** generator.uniform(0, 4.5))
    kind = generator.random()
    if kind < 0.55:
        return str(number)
    if kind < 0.65:
        return rf"\frac{{{number}}}{{{generator.randint(2, 60)}}}"
    if kind < 0.75:
        return f"{number}.{generator.randint(0, 99):02}"
    if kind < 0.8:
        return rf"{generator.randint(2, 40)}\sqrt{{{generator.randint(2, 40)}}}"
    return generator.choice(pool)


_WORK = (
    "## Step 1: Understand what is asked\nThe quantity we look for depends on the two numbers 12 and 35, and on x.\n\n"
    "## Step 2: Compute\nWe have \\[\\frac{12 + 35}{x} = 47x^{-1},\\] so that $x \\neq 0$.\n\n"
)


def _completion(answer: str) -> str:
    return f"{_WORK}Therefore, the final answer is: $\\boxed{{{answer}}}$. I hope it is correct."


def long_completions(solutions: Sequence[str], length: int, problems: int, samples: int) -> list[tuple[int, str]]:
    """Return chains of thought of a given length, each with the number of its problem.

    They are made of other problems' solutions without their boxes, and end with the solution of their own.
    """
    texts = []
    for sample, problem in itertools.product(range(samples), range(problems)):
        others = itertools.islice(itertools.cycle(solutions), problem + 7 * sample + 1, None)
        work = ""
        while len(work) < length:
            work += next(others).replace("\\boxed", "\\mbox") + "\n\n"
        last = solutions[problem]
        texts.append((problem, work[: length - len(last)] + "\n\n" + last))
    return texts


HOSTILE = {
    "9^{9^9}": "9^{9^9}",
    "10^{10^{10}}": "10^{10^{10}}",
    "10^{10^{10}}!": "10^{10^{10}}!",
    "10000000!": "10000000!",
    "3^{20^6}": "3^{20^6}",
    "2^{2^{64}}": "2^{2^{64}}",
    "2^{2^{2^{64}}}": "2^{2^{2^{64}}}",
    "4^{huge rational}": r"4^{123456789123456789/98765432123456789}",
    "sum to 10^8": r"\sum_{k=1}^{100000000} \frac{1}{k^2}",
    "product to 10^6": r"\prod_{k=1}^{1000000} k",
    "binom(10^9, 5*10^8)": r"\binom{1000000000}{500000000}",
    "binom(10^6, 5*10^5)": r"\binom{1000000}{500000}",
    "(a+b+c+d)^60": "(a+b+c+d)^{60}",
    "x^50+y^50=z^50": "x^{50}+y^{50}=z^{50}",
    "integral": r"\int_0^1 e^{\sin(x^x)} dx",
    "9 x 9 determinant": r"\det \begin{pmatrix}"
    + r"\\".join("&".join(f"a_{{{row}{column}}}" for column in range(9)) for row in range(9))
    + r"\end{pmatrix}",
    "12 x 12 inverse": r"\begin{pmatrix}" + r"\\".join(["&".join("abcdefghijkl")] * 12) + r"\end{pmatrix}^{-1}",
    "100 x 100 matrix": r"\begin{pmatrix}" + r"\\".join(["&".join(["1"] * 100)] * 100) + r"\end{pmatrix}",
    "1,000 nested braces": "{" * 1000 + "1" + "}" * 1000,
    "1,000 nested parentheses": "(" * 1000 + "1" + ")" * 1000,
    "100 nested braces": "{" * 100 + "1" + "}" * 100,
    "50-deep continued fraction": "1+\\frac{1}{" * 50 + "2" + "}" * 50,
    "50,000-term sum": "+".join(["1"] * 50_000),
    "300-element set": r"\{" + ",".join(f"x^{{{n}}}" for n in range(300)) + r"\}",
    "10,000-element list": ",".join(map(str, range(10_000))),
    "100,000 spaces": " " * 100_000 + "1",
    "100,000 digits": "7" * 100_000,
    "100,000 dollars": "$" * 100_000,
    "100,000 backslashes": "\\" * 100_000,
    "NUL": "1\x002",
    "lone surrogate": "\ud800",
    "right-to-left": "\u202e71\u202c2",
    "emoji": "\U0001f9ee 5",
    "__import__": '__import__("os").system("true")',
    "eval": "eval('1+'*9999+'1')",
}
"""Inputs that hang, crash or swell graders (bombs, depth, length, odd characters)."""
