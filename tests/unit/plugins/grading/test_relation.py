"""Classes are an equivalence relation, and a verdict belongs to a class, over real golds and variants made of them."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from timetrial_plugins.grading import answer_class, cluster, grade, key

DATA = Path(__file__).parents[5] / "shared" / "data"
CASES = Path(__file__).parent / "cases"
GOLDS = tuple(
    r"""
    5;; -3;; 0.25;; \frac{7}{12};; -\frac{9}{4};; 10,080;; 2 \frac{2}{3};; 11\sqrt{2};; \frac{\sqrt{21}}{5};; \pi
    6 - 5i;; x^3+3x-6;; 2k+2;; p - q;; y = 2x + 3;; \left( 3, \frac{\pi}{2} \right);; (6,31,-1);; [-2,7];; 90^\circ
    1,-2;; \{1\pm\sqrt{5},-2\};; 3 \pm 2\sqrt{2};; (-\infty, 2) \cup (3, \infty);; \$18.90;; 15\mbox{ cm}^2;; 50\%
    \begin{pmatrix} -2 \\ 16 \\ 1 \end{pmatrix};; \text{Evelyn};; \text{(C)};; 204_5
    """.strip()
    .replace("\n", ";;")
    .split(";;")
)


def golds() -> list[str]:
    """The golds of MATH-500 where they are, and some of them everywhere."""
    path = DATA / "math500.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return list(dict.fromkeys([*(gold.strip() for gold in GOLDS), *(json.loads(line)["answer"] for line in lines)]))


def tabled() -> list[str]:
    """All texts of the tables."""
    lines = [line for path in sorted(CASES.glob("*.tsv")) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [re.split(r"\t+", line) for line in lines if line and not line.startswith("#")]
    return list(dict.fromkeys(text for row in rows for text in row[1:3]))


def same_spellings(gold: str) -> Iterator[str]:
    """Spell a gold answer in other ways that change nothing."""
    yield from (f"${gold}$", f"\\boxed{{{gold}}}", f" {gold} ", f"{{{gold}}}", f"\\({gold}\\)", f"{gold}.")
    yield gold.replace(r"\frac", r"\dfrac").replace(r"\sqrt", r"\sqrt ")
    yield gold.replace("(", r"\left(").replace(")", r"\right)") if r"\left" not in gold else gold
    yield gold.replace("-", "\u2212") if "\\\\" not in gold and "text" not in gold else gold
    yield gold.translate({ord("0") + digit: chr(0xFF10 + digit) for digit in range(10)})
    kind, *rest = key(gold)
    if kind == "q":
        yield from same_numbers(Fraction(rest[0]))
    if kind in ("q", "n", "expr") and "text" not in gold:
        plain = formula(gold)
        yield from (f"({plain})+0", f"\\frac{{2({plain})}}{{2}}", f"-(-({plain}))", f"1 \\cdot ({plain})")
    if kind == "set" and "," in gold and not re.search(r"[\\({]", gold):
        yield from (", ".join(reversed(gold.split(","))), rf"\{{{gold}\}}", " and ".join(gold.split(",")))
    if kind in ("q", "n", "seq", "union"):
        yield f"x = {gold}" if "=" not in gold and "in" not in gold else gold
    if kind == "text":
        yield from (rf"\text{{{word}}}" for word in (rest[0].upper(), rest[0]) if word.isalpha() and len(word) > 2)


def formula(gold: str) -> str:
    """Return a number or formula without what cannot stand in a larger one: label, separators, dollars and degrees."""
    return re.sub(r"^\s*[a-zA-Z]\s*=|\\\$|\^\s*\{?\\circ\}?|,(\\!)?\s*", "", gold)


def same_numbers(number: Fraction) -> Iterator[str]:
    top, bottom = number.numerator, number.denominator
    yield from (f"{top}/{bottom}", rf"\frac{{{3 * top}}}{{{3 * bottom}}}", rf"\tfrac{{{-top}}}{{{-bottom}}}")
    if 10**6 % bottom == 0:
        yield f"{float(number):.6f}"
    if bottom == 1:
        yield from (f"{top:,}", f"{top}.0", f"{top:,}".replace(",", r",\!"), f"x={top}")
    elif top > bottom:
        yield rf"{top // bottom}\frac{{{top % bottom}}}{{{bottom}}}"


def other_answers(gold: str) -> Iterator[str]:
    """Change a gold answer into answers that are wrong."""
    kind, *rest = key(gold)
    if kind in ("q", "n", "expr") and "text" not in gold:
        plain = formula(gold)
        yield from (f"({plain})+1", f"2({plain})+\\sqrt{{7}}", f"({plain})+\\frac{{1}}{{10^9}}")
        if (kind, *rest) != ("q", "0"):
            yield from (f"-({plain})", f"10({plain})", f"({plain}) \\cdot \\frac{{1001}}{{1000}}")
    if kind == "base":
        yield from (f"{rest[0]}_{{{int(rest[1]) + 1}}}", rest[0], f"1{rest[0]}_{{{rest[1]}}}")
    if kind == "seq" and gold.count(",") == 1 and "infty" not in gold:
        inner = gold.replace(r"\left", "").replace(r"\right", "").strip()[1:-1].split(",")
        yield from (f"({inner[1]},{inner[0]})", f"({inner[0]},{inner[1]},1)", f"({inner[0]},{inner[1]}+1)", inner[0])
    if kind == "set" and "," in gold and not re.search(r"[\\({]", gold):
        parts = gold.split(",")
        yield from (",".join(parts[1:]), ",".join([*parts, "987"]), f"({gold})")
    if kind == "text" and rest[0].isalpha():
        yield from (rest[0] + "x", "5", f"no {rest[0]}")
    if kind == "unit" and rest[1] not in ("%", "m"):
        yield from (gold.replace("2", "3"), "0") if "^2" in gold else ("0",)


def with_variants() -> dict[str, list[str]]:
    return {gold: [gold, *dict.fromkeys([*same_spellings(gold), *other_answers(gold)])] for gold in golds()}


def test_other_spellings_of_a_gold_answer_have_its_class_and_are_right() -> None:
    wrong = [
        (gold, spelling)
        for gold in golds()
        for spelling in same_spellings(gold)
        if answer_class(spelling) != answer_class(gold) or grade(gold, spelling).correct is not True
    ]
    assert wrong == []


def test_changed_answers_are_of_another_class_and_never_right() -> None:
    changed = [(gold, answer) for gold in golds() for answer in other_answers(gold)]
    assert len(changed) > 100
    assert [pair for pair in changed if answer_class(pair[0]) == answer_class(pair[1])] == []
    assert [pair for pair in changed if grade(*pair).correct is True] == []
    unknown = [pair for pair in changed if grade(*pair).correct is None]
    assert len(unknown) <= len(changed) / 100, unknown


def test_every_answer_is_equal_to_itself() -> None:
    for text in [*tabled(), *itertools.chain.from_iterable(with_variants().values())]:
        assert grade(text, text).correct is True
        assert cluster([text, text]) == [0, 0]


def test_classes_do_not_depend_on_the_order_of_the_answers_or_on_who_is_there() -> None:
    texts = [*tabled(), *itertools.chain.from_iterable(with_variants().values())]
    expected = cluster(texts)
    for seed in range(3):
        order = list(range(len(texts)))
        random.Random(seed).shuffle(order)
        order = order[: len(order) // (seed + 1)]
        numbers = cluster(texts[index] for index in order)
        pairs = {(expected[index], number) for index, number in zip(order, numbers, strict=True)}
        assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


def test_equal_keys_are_equal_texts_and_a_class_is_its_own_class() -> None:
    by_class: dict[str, set[object]] = defaultdict(set)
    for text in [*tabled(), *itertools.chain.from_iterable(with_variants().values())]:
        by_class[answer_class(text)].add(key(text))
        assert answer_class(answer_class(text)) == answer_class(text)
        assert key(answer_class(text)) == key(text)
    assert all(len(keys) == 1 for keys in by_class.values())


def verdicts_by_class(gold: str, texts: list[str]) -> dict[str, set[bool | None]]:
    verdicts: dict[str, set[bool | None]] = defaultdict(set)
    for text in texts:
        verdicts[answer_class(text)].add(grade(gold, text).correct)
    return verdicts


def of_several_members() -> list[str]:
    """The texts of the tables whose class has other members: there is nothing to judge a single one unlike."""
    members: dict[str, list[str]] = defaultdict(list)
    for text in tabled():
        members[answer_class(text)].append(text)
    return [text for group in members.values() if len(group) > 1 for text in group]


def test_the_members_of_a_class_are_judged_alike() -> None:
    """A class is judged once, so a verdict must not depend on which of its members was judged."""
    several = of_several_members()
    for gold in random.Random(0).sample(tabled(), 60):
        split = {name for name, verdicts in verdicts_by_class(gold, several).items() if len(verdicts) > 1}
        assert split == set(), gold


def test_the_members_of_a_class_are_judged_alike_by_their_own_gold_answer() -> None:
    for gold, answers in with_variants().items():
        split = {name for name, verdicts in verdicts_by_class(gold, answers).items() if len(verdicts) > 1}
        assert split == set(), gold


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))  # each gold answer asks sympy about many pairs, which takes a while
def test_the_members_of_a_class_are_judged_alike_by_every_gold_answer(part: int) -> None:
    several = of_several_members()
    for gold in tabled()[part::8]:
        split = {name for name, verdicts in verdicts_by_class(gold, several).items() if len(verdicts) > 1}
        assert split == set(), gold
