"""Extraction: what a text answers, by style; a cut text answers nothing. Rows are (text, answer, why)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from timetrial_plugins.grading import extract_answer

DATA = Path(__file__).parents[5] / "shared" / "data"
STRICT_STYLES = ("math", "gsm8k", "nutshell")

MATH = [
    # boxes
    (r"so \boxed{5}.", "5", "plain"),
    (r"$\boxed{\frac{1}{2}}$ ... then $\boxed{\sqrt{\frac{3}{4}}}$", r"\sqrt{\frac{3}{4}}", "nested, the last counts"),
    (r"\boxed{x \in \{1, 2\}}", r"x \in \{1, 2\}", "escaped braces"),
    (r"\boxed{\left\{1, 2\right.}", r"\left\{1, 2\right.", "an escaped brace without its pair"),
    (
        r"\[\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}\]",
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        "line breaks inside",
    ),
    (r"\fbox{7}", "7", "the other command"),
    (r"\boxed {7} and \boxed" + "\n{8}", "7, 8", "space before the brace"),
    (r"**\boxed{5}**", "5", "markdown"),
    (r"\boxed{\text{(B)}}", r"\text{(B)}", "Math-Verify #16: choices are words"),
    (r"$\boxed 5$ is it", "5", "no braces"),
    (r"$\boxed\frac{1}{2}$", r"\frac{1}{2}", "no braces, a command"),
    (r"\\boxed{\\frac{1}{2}}", r"\\frac{1}{2}", "doubled backslashes, as in text that was written as JSON"),
    ("\x08oxed{\x0crac{1}{2}}", r"\frac{1}{2}", "backslash and letter read as control characters"),
    ("\\boxed{\text{13}}", r"\text{13}", "backslash and t read as a tab"),
    (r"Use \boxed{answer}. So \boxed{3}. Boxes like \boxed{} or \boxed{...}", "3", "talk about boxes is no box"),
    (r"\boxed{}", None, "nothing in it"),
    (r"\boxed{ } \boxed{\text{answer}} \boxed{?}", None, "nothing but placeholders"),
    (r"$2^3 = \boxed{8}$, not $\boxed{\phantom{2}}$", "8", "the blank of a MATH problem, echoed"),
    (r"it is boxed: {5}, or \boxedness{5}", None, "the word"),
    (r"\boxed{\boxed{5}}", "5", "a box in a box"),
    (r"\boxed{5}. That took 3 steps, 2 minutes.", "5", "numbers behind it"),
    (r"see $\boxed{12 $ and $13 }. $", "12 $ and $13", "dollars across the box: minerva prompt, real"),
    (r"\boxed{" + "1" * 2001 + "}", None, "longer than any answer"),
    # boxes in a row
    (r"\boxed{-2} \quad \text{and} \quad \boxed{1}", "-2, 1", "and"),
    (r"\boxed{2}, \boxed{3}, \boxed{5}", "2, 3, 5", "commas"),
    (r"\boxed{1}\boxed{2}", "1, 2", "nothing between"),
    (r"\boxed{35 cm} ++++++ \boxed{4}", "35 cm, 4", "Math-Verify #57: only marks between"),
    (r"\boxed{1} papers and \boxed{2} bins", "1, 2", "few words with and"),
    (r"\($y_1 = \boxed{x} \) and \( y_2 = \boxed{3} \)", "x, 3", "named"),
    (
        r"\boxed{15\frac{39}{40}},$ or $\boxed{\frac{639}{40}}$ inches",
        r"\frac{639}{40}",
        "two spellings: MATH-500, real",
    ),
    (r"$x = \boxed{1}$ or $x = \boxed{2}$", "1, 2", "two solutions"),
    (r"\boxed{1} no no no no no \boxed{2}", "2", "words without and"),
    (r"\boxed{3}. And so the other is \boxed{4}", "4", "another sentence"),
    (r"\boxed{3} = \boxed{4}", "4", "an equation is no list"),
    (r"\boxed{840}.\n\n**Final Answer**\n\boxed{840}", "840", "Math-Verify #44: once, not 840840"),
    (r"\boxed{7} \boxed{7}", "7", "a repetition"),
    # boxes that are cut
    (r"\boxed{\frac{1}{2", None, "cut"),
    (r"so 5 $\boxed{", None, "cut, and the 5 is no answer"),
    (r"first \boxed{4}, no: \boxed{\frac{1}{2", None, "the answer is another one, and cut"),
    (r"\boxed{840}. So \boxed{840}. So \boxed{84", "840", "a loop that was cut repeats its answer"),
    (r"The final answer is $\boxed{5}$. I hope it is correct. The final answer is $\bo", "5", "the same"),
    (r"\boxed{5$. I hope it is correct.", None, "never closed"),
    (r"\boxed{5\}", None, "closed by an escaped brace only"),
    # the final answer is
    (r"Therefore, the final answer is: $\boxed{12}$. I hope it is correct.", "12", "the prompt's ending"),
    ("The final answer is $\\frac{3}{4}$. I hope it is correct.", r"\frac{3}{4}", "no box"),
    ("The final answer is 12.", "12", "plain"),
    ("the final answer is 12", "12", "no full stop"),
    ("the final answer is: **73**", "73", "bold"),
    ("is **73**.\n\n---\n\n\u2705 Final Answer: **73**", "73", "Math-Verify #76"),
    ("**Final Answer**\n\n$$\n73\n$$", "73", "a heading and a displayed formula"),
    (r"## Final Answer" + "\n\\[\nx = 7.5\n\\]", "x = 7.5", "a heading of hashes"),
    (r"The final answer is \( -5 \).", "-5", "parentheses"),
    ("The final answer is (A).", "(A)", "a choice"),
    ("The final answer is 5 dollars.", "5 dollars", "a unit"),
    ("The final answer is $18.50.", "$18.50", "a currency, not half a formula"),
    ("The final answer is 72, which is the total.", "72", "a clause behind it"),
    ("The final answer is 3.5 because 7/2 = 3.5.", "3.5", "a reason behind it"),
    ("The final answer to the problem is 7.", "7", "to the problem"),
    ("Final Answer: The volume of $ABCDEFGH$ is 120. I hope it is correct.", "120", "a sentence: minerva prompt, real"),
    ("The final answer is $x = 1$ and $x = 2$.", "$x = 1$ and $x = 2$", "two formulas"),
    (r"The final answer is \"$12 $ and $13 $\". I hope it is correct.", "$12 $ and $13 $", "quoted: real"),
    ("The final answer is no solution.", "no solution", "words"),
    (r"so \boxed{255}. Final Answer: The final answer is $10,455$.", "10,455", "the later statement: real"),
    (r"\boxed{44}. We check: so our answer is correct.", "44", "a judgement is no statement: MATH-500, real"),
    ("The final answer is correct.", None, "a judgement"),
    ("The final answer is not 5.", None, "a denial"),
    ("The final answer must be an integer such as 5.", None, "no statement"),
    ("The final answer is the number of all pairs that we have counted.", None, "prose"),
    ("The final answer is", None, "cut"),
    ("The final answer is $\\frac{1}{2", None, "cut in a formula"),
    ("The final answer is $12", None, "cut in a formula, and 12 is not it"),
    ("The final answer is \\(12", None, "cut in a formula"),
    ("The final answer is:\n\\", None, "cut in a delimiter"),
    ("The final answer is $.$$", None, "re fails on groups within possessive repeats: fuzzing"),
    (r"The final answer is $\]\)$$", None, "the same"),
    ("The final answer is the larger of", None, "cut in words"),
    ("The final answer is 12.\n\nThe final answer is", "12", "a loop that was cut"),
    # other statements
    ("a = 4.\n\n**Answer:** 4.", "4", "lm-eval #3643"),
    ("Reasoning.\nAnswer: \\frac{1}{2}", r"\frac{1}{2}", "a line of its own"),
    ("The answer is 4", "4", "a sentence of its own"),
    ("2 + 2 = 4, so the answer is 4.", "4", "a conclusion"),
    ("The answer is: east.", "east", "words behind a colon"),
    ("If the answer is 4 then we are done", None, "no sentence of its own"),
    ("Answer:\nStep 1: we count 5 apples", None, "a solution begins"),
    ("<think>3?</think><answer> 4 </answer>", "4", "tags"),
    (r"<answer>So \boxed{4}</answer>", "4", "a box in tags"),
    ("work\n#### 72", "72", "hashes"),
    ("#### Step 2\nx = 5\n#### 3. Simplify\nnow", None, "headings"),
    ("##### 5", None, "another heading"),
    ("Q: How many clips? A: 72", "72", "A: behind a question"),
    ("A: 5\nB: 7\nC: 9", None, "options of a multiple choice"),
    ("DNA: 5", None, "a word that ends in A"),
    ("We add 3 and 4 and get 7", None, "no statement"),
    ("| n | 3 |\n|---|---|\n| f(n) | 7 |", None, "a table"),
    ("```python\nprint(5)\n```", None, "code"),
    ("Answer\uff1a\uff15", "\uff15", "full-width colon and digit"),
    # what is not looked at
    (r"<think>maybe \boxed{3}</think> It is \boxed{4}.", "4", "thought"),
    (r"hm \boxed{3}</think> It is \boxed{4}.", "4", "thought, the opening tag was in the prompt"),
    (r"<think>maybe \boxed{3}", None, "still thinking"),
    (r"<think>so \boxed{3}</think>", None, "thought and not said"),
    (r"\boxed{3} <think>or \boxed{4}", "3", "said before"),
    (r"\boxed{3}<|im_end|><|im_start|>user \boxed{4}?", "3", "another turn"),
    (r"The final answer is 3.<|eot_id|>A: 4", "3", "another turn"),
    ("The final answer is 12. <|im_start|>user", "12", "the beginning of another turn: real"),
    (r"<|im_end|> \boxed{3}", "3", "a marker before anything was said"),
    # characters
    ("The final answer is 5.\r\nThank you!\r\n", "5", "Windows line ends"),
    ("Answer: 5\rbye", "5", "old line ends"),
    ("\\boxed{\x005\x00}", "\x005\x00", "NUL is not ours to judge"),
    ("\\boxed{\ud800}", "\ud800", "a lone surrogate"),
    (" " * 100_000 + r"\boxed{5}" + " " * 16_000, "5", "spaces"),
    (r"\boxed{5}" + " x" * 10_000, None, "too far from the end"),
    ("}" * 1000 + "{" * 1000 + r"\boxed{5}", "5", "unbalanced braces"),
    ("}}}}\\boxed", None, "unbalanced braces and a command without a box"),
    ("", None, "nothing"),
    (" \n", None, "nothing"),
]
GSM8K = [
    ("3 + 4 = 7\n#### 7", "7", "the data's own form"),
    ("She makes 7.\nA: 1,234", "1234", "thousands"),
    ("#### $1,234.50 per day", "1234.50", "currency and unit"),
    ("The final answer is $18.50 per day.", "18.50", "currency and unit"),
    ("The final answer is $18", "18", "a dollar is the currency"),
    ("The final answer is [42]", "42", "the prompt's brackets"),
    ("The final answer is 6 * 3 = 18.", "18", "a calculation"),
    ("The final answer is 6 * 3.", "6 * 3", "a calculation without its result"),
    ("The final answer is -5", "-5", "negative"),
    ("The final answer is \u22125.", "-5", "negative"),
    ("The final answer is 3/4 of a mile.", "3/4", "a fraction"),
    (r"The final answer is \frac{3}{4}.", r"\frac{3}{4}", "a fraction in LaTeX"),
    ("The answer is 72, in total, so the farmer earns that much.", "72", "HELM #4337: a comma is no number"),
    (r"\boxed{$9{,}500}", "9500", "opencompass #2647"),
    (r"\boxed{8,000}", "8000", "opencompass #2647"),
    ("The final answer is 1.8 billion dollars.", "1.8 billion", "a word that is a factor"),
    ("A: 10+John's age", None, "no number, and no stray 10: real"),
    (r"so \boxed{18 \text{ eggs}}", "18", "a unit in the box"),
    ("A: 5\nno, A: 6\nA: 7", "7", "the last line"),
    ("The final answer is 5.\nA: 6", "6", "the last statement"),
    ("There are 18 eggs", None, "no statement"),
    ("####", None, "nothing behind it"),
    ("#### none", None, "no number"),
    ("A: see above", None, "no number"),
    ("Answer: There are 5 boxes with 3 apples in each of them", None, "a solution begins"),
    ("The final answer is", None, "cut"),
]
NUTSHELL = [
    ("Tom has 3 + 4 = 7 pens.\n\nThe final answer is 7", "7", "as trained"),
    ("The final answer is 7.", "7", "a full stop"),
    ("The final answer is 7\n\nThe final answer is -8", "-8", "the last one"),
    ("The final answer is seven", None, "a word"),
    ("The final answer is 7.5", None, "no integer"),
    ("The final answer is 1,000", None, "no plain integer"),
    ("Tom has 7", None, "no statement"),
]
LATEX = [
    ("Answer $ 9 $", "9", "the last formula"),
    ("We find $x < 3$ and $y$ is $4$ then.", "4", "the last formula"),
    ("Answer $ \n 9 \n $", None, "a formula in the line ends on it"),
    ("Answer \\( \n 9 \n \\)", None, "a formula in the line ends on it"),
    ("Answer $$ \n 9 \n $$", "9", "a displayed one need not"),
    ("Answer \\[ \n 9 \n \\]", "9", "a displayed one need not"),
    ("$125$ miles", "$125$ miles", "with its unit"),
    ("$21,16$ or $11$", "$21,16$ or $11$", "joined formulas"),
    (r"Answer $ \frac{1}{2} \$ = 5 $", r"\frac{1}{2} \$ = 5", "an escaped dollar"),
    ("the number is 5", None, "no formula"),
    (r"$3$, so \boxed{5}", "5", "a box"),
]
EXPR = [
    ("not it's not 10 it's 1,000.99m\u00b2", "1,000.99", "the last number, without what follows"),
    ("1 000", "1 000", "spaces in thousands"),
    ("Soucis : 2,74 $ a..", "2,74", "a decimal comma"),
    ("the answer: .4", ".4", "no zero"),
    ("it is (1/2), and P(A) = 2/3 so", "2/3", "a fraction"),
    ("AZYUK2A", None, "a digit in a word"),
    ("increases by 100%.", "100%", "percent"),
]
LOOSE = [
    ("7", "7", "a text that is the answer"),
    ("28 percent", "28 percent", "with its unit"),
    (r"\frac{10}{9}", r"\frac{10}{9}", "without dollars"),
    ("the midpoints form a regular hexagon", "the midpoints form a regular hexagon", "words only"),
    ("$1$ and $2$ and $3$", "$1$ and $2$ and $3$", "joined formulas"),
    ("Therefore $x \\geq 5$ is the solution.", r"x \geq 5", "the last formula"),
    ("Answer \\[ 9 \\]", "9", "the last formula"),
    ("so the system has the solution $(7, 6)$. <|im_start|>user", "(7, 6)", "the last formula: real"),
    (
        "with $d = 90$. Therefore, there are 12 sequences that meet the conditions.",
        "12",
        "a number in a later sentence",
    ),
    ("$$x \\geq 2.$$ Therefore the error increases by 100%.", "100%", "a number in a later sentence: real"),
    ("one line of work with 5\nand another with 6 of it", "6", "the last number"),
    ("Final Answer: Jane started growing Sphere 3 hours ago. I hope it is correct.", "3", "a sentence's number: real"),
    ("Final Answer: The largest $n$ is 34.", "34", "a sentence's number"),
    ("one line\nand another", None, "nothing"),
    (r"the answer \boxed{A", None, "a box that was cut"),
]
TABLES = {"math": MATH, "gsm8k": GSM8K, "nutshell": NUTSHELL, "latex": LATEX, "expr": EXPR, "loose": LOOSE}


@pytest.mark.parametrize(
    ("style", "text", "answer"),
    [
        pytest.param(style, text, answer, id=f"{style}-{number}-{why}")
        for style, table in TABLES.items()
        for number, (text, answer, why) in enumerate(table)
    ],
)
def test_the_answer_of_a_text(style: str, text: str, answer: str | None) -> None:
    assert extract_answer(text, style) == answer


def test_an_unknown_style_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'sympy': known: expr, gsm8k, latex, loose, math, nutshell"):
        extract_answer("5", "sympy")


COMPLETIONS = [
    # (what precedes the answer's statement, the statement)
    (
        "We have $x = 3$, and 4 + 5 = 9 clips.\n\n## Step 2: Add\n\\[3 + 9 = 12.\\]\nTherefore, ",
        "the final answer is 12.",
    ),
    ("1. First, 3 boxes cost $18.\n2. So 1 box costs $6.\n\n", "#### 6"),
    ("So $x^2 = 4$ and the positive root, 2, is what we look for: $x = ", "\\boxed{2}$"),
    ("Julia has 3 * 5 = <<3*5=15>>15 pens.\n", "A: 15"),
]


@pytest.mark.parametrize("style", STRICT_STYLES)
@pytest.mark.parametrize(("work", "statement"), COMPLETIONS)
def test_a_text_that_is_cut_before_its_statement_answers_nothing(style: str, work: str, statement: str) -> None:
    assert {extract_answer(work[:end], style) for end in range(len(work) + 1)} == {None}
    if style != "nutshell":
        assert extract_answer(work + statement, style) is not None


@pytest.mark.skipif(not (DATA / "math500.jsonl").is_file(), reason="no shared data")
def test_solutions_of_math_500_answer_nothing_before_their_box() -> None:
    with (DATA / "math500.jsonl").open(encoding="utf-8") as file:
        solutions = [json.loads(line)["solution"] for line in file]
    for solution in solutions:
        work = solution[: solution.index("\\boxed")]
        assert [extract_answer(work[:end]) for end in range(0, len(work) + 1, 97)] == [None] * (len(work) // 97 + 1)
        assert extract_answer(work) is None


@pytest.mark.skipif(not (DATA / "gsm8k_graded_responses.jsonl").is_file(), reason="no shared data")
def test_graded_gsm8k_completions_answer_what_stands_behind_the_last_mark_and_nothing_before() -> None:
    with (DATA / "gsm8k_graded_responses.jsonl").open(encoding="utf-8") as file:
        responses = [json.loads(line)["response"] for line in file]
    for response in responses:
        work, mark, number = response.rpartition("\nA: ")
        assert extract_answer(work, "gsm8k") is None
        expected = number.strip().replace(",", "") if mark and number not in ("", "10+John's age") else None
        assert extract_answer(response, "gsm8k") == expected


HOSTILE = [
    "\\boxed{", "\\boxed{}", "\\boxed{5}", "\\boxed{5} and ", "\\boxed{{}", "\\boxed", "\\fbox ", "boxed ", "{", "}",
    "$", "$$ ", "$a ", "\\[", "\\(", "\\", "nswer", "Answer:", "Answer:\n", "Answer: $", "Answer: \\[",
    "final answer ", "final answer is ", "final answer to ", "final answer (", "final answer is {", "The answer is x. ",
    "#### ", "#", "####\n", "#### \\text{", "#### Step 1\n", "A:", "A:\n", "A: x\nB: y\n",
    "<", "<|im_end|>", " <|im_end|>", "<think>", "</think>", "<answer>", "</answer>",
    "\\n \\boxed", "\bAnswer:\n\\boxed(", "\\boxed{{}final answer A:}", "and<answer>", "The final answer is:",
    "<answer>final answer is So the answer is is ",
    "1", "1,", "1,111", "1 ", "1/", ".1", "a", "word ", " is ", " ", "\t", "\b", "\r\n", "\0", "\ud800", "\u00bd",
]  # fmt: skip


@pytest.mark.parametrize("style", TABLES)
def test_texts_that_repeat_a_mark_are_read_at_once(style: str) -> None:
    for piece in HOSTILE:
        text = piece * (40_000 // len(piece))
        start = time.perf_counter()
        extract_answer(text, style)
        extract_answer("The final answer is " + text, style)
        extract_answer(f"$5$ {text[:16_000]}!", style)
        assert time.perf_counter() - start < 2, piece
    assert extract_answer("The final answer is " + "1" * 16_000 + ".5", style) != "5"


def test_a_box_is_found_behind_any_mark_that_hides_nothing() -> None:
    hiding = {"<think>"}
    for piece in HOSTILE:
        text = piece * (100_000 // len(piece)) + "\n\nThen \\boxed{5}"
        expected = None if piece in hiding else "5"
        assert extract_answer(text) == expected, piece
