"""Extraction: what a text answers, by style; a cut text answers nothing."""

from __future__ import annotations

import pytest

from timetrial_plugins.grading import extract_answer

MATH = [
    (r"so \boxed{5}.", "5"),
    (r"$\boxed{\frac{1}{2}}$ ... then $\boxed{\sqrt{\frac{3}{4}}}$", r"\sqrt{\frac{3}{4}}"),
    (r"\boxed{x \in \{1, 2\}}", r"x \in \{1, 2\}"),
    (r"Therefore, the final answer is: $\boxed{12}$. I hope it is correct.", "12"),
    (r"\fbox{7}", "7"),
    (r"\boxed {7}", "7"),
    (r"\boxed{-2} \quad \text{and} \quad \boxed{1}", "-2, 1"),
    (r"\boxed{2}, \boxed{3}, \boxed{5}", "2, 3, 5"),
    (r"\boxed{1} papers and \boxed{2} bins", "1, 2"),
    (r"\boxed{1} no no no no no \boxed{2}", "2"),
    (r"\boxed{3}. So the other one is \boxed{4}", "4"),
    (r"\boxed{840}.\n\n**Final Answer**\n\boxed{840}", "840"),
    (r"first \boxed{4}, cut: \boxed{\frac{1}{2", "4"),
    ("The final answer is $\\frac{3}{4}$. I hope it is correct.", r"\frac{3}{4}"),
    ("The final answer is 12.", "12"),
    ("the final answer is: **73**", "73"),
    (r"the final answer is: $\boxed{12", None),
    ("The final answer is", None),
    ("The final answer is $\\frac{1}{2", None),
    ("We add 3 and 4 and get 7", None),
    (r"\boxed{}", None),
    (r"\boxed{ }", None),
    ("", None),
    ("}}}}\\boxed", None),
    (r"<think>maybe \boxed{3}</think> It is \boxed{4}.", "4"),
    (r"<think>maybe \boxed{3}", None),
]
GSM8K = [
    ("3 + 4 = 7\n#### 7", "7"),
    ("She makes 7.\nA: 1,234", "1,234"),
    ("The final answer is $18.50 per day.", "18.50"),
    ("The final answer is [42]", "42"),
    ("The final answer is 6 * 3 = 18.", "18"),
    ("The final answer is -5", "-5"),
    ("A: 5\nno, A: 6\nA: 7", "7"),
    (r"so \boxed{18}", "18"),
    ("There are 18 eggs", None),
    ("####", None),
    ("#### none", "none"),
]
NUTSHELL = [
    ("Tom has 3 + 4 = 7 pens.\n\nThe final answer is 7", "7"),
    ("The final answer is 7.", "7"),
    ("The final answer is 7\n\nThe final answer is -8", "-8"),
    ("The final answer is seven", None),
    ("The final answer is 7.5", None),
    ("Tom has 7", None),
]
LOOSE = [
    ("Therefore $x \\geq 5$ is the solution.", r"x \geq 5"),
    ("$1$ and $2$ and $3$", "$1$ and $2$ and $3$"),
    ("Answer \\[ 9 \\]", "9"),
    ("7", "7"),
    ("one line\nand another", None),
]


@pytest.mark.parametrize(
    ("style", "text", "answer"),
    [
        (style, text, answer)
        for style, table in (("math", MATH), ("gsm8k", GSM8K), ("nutshell", NUTSHELL), ("loose", LOOSE))
        for text, answer in table
    ],
)
def test_the_answer_of_a_text(style: str, text: str, answer: str | None) -> None:
    extracted = extract_answer(text, style)
    assert (extracted.strip() if extracted else extracted) == answer


def test_an_unknown_style_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="gsm8k, loose, math, nutshell"):
        extract_answer("5", "latex")


@pytest.mark.parametrize("text", ["\\boxed{" * 20_000, "{" * 100_000, "\\boxed{" + "1" * 100_000 + "}", "$" * 50_000])
def test_long_texts_are_read_from_their_end(text: str) -> None:
    assert extract_answer(text) is None
    assert extract_answer(text + " \\boxed{5}") == "5"
