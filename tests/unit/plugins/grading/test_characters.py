"""Characters that a table of text cannot show: control characters, invisible ones, combining ones."""

from __future__ import annotations

import pytest

from timetrial_plugins.grading import answer_class, grade

# what a literal like "\frac" makes of a backslash and a letter
LOST_BACKSLASHES = [
    ("\frac{1}{2}", r"\frac{1}{2}"),
    ("\text{13}", "13"),
    ("\boxed{5}", "5"),
    ("\binom{5}{2}", "10"),
    ("3 \times 4", "12"),
    ("\theta", r"\theta"),
    ("\alpha + 1", r"\alpha + 1"),
    ("\beta", r"\beta"),
    ("\varnothing", r"\emptyset"),
    ("\begin{pmatrix}1\\\\2\\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ("-\\\frac{7}{4}", r"-\frac{7}{4}"),
    ("x \neq 3", r"x \neq 3"),
    ("(1,2\right)", r"(1,2)"),
]
INVISIBLE = [
    ("\u202e5", "5"),  # a right-to-left mark
    ("5\u200b", "5"),  # a space without width
    ("5\ufe0f", "5"),  # a variation selector
    ("\ufeff5", "5"),  # a byte order mark
    ("5\u00a0cm", "5 cm"),  # a space that does not break
    ("1\u2009000", "1000"),  # a thin space
    ("\t5\n", "5"),
    ("5\x00", "5"),
]
NOT_DROPPED = ["1\u0301", "1\u0338", "x\u0304", "\u00ac5", "5\u2030", "5\ud800", "\u01c3"]


@pytest.mark.parametrize(("written", "meant"), LOST_BACKSLASHES)
def test_a_backslash_that_a_string_literal_lost_is_restored(written: str, meant: str) -> None:
    assert answer_class(written) == answer_class(meant)


@pytest.mark.parametrize(("written", "meant"), INVISIBLE)
def test_what_is_not_seen_does_not_count(written: str, meant: str) -> None:
    assert answer_class(written) == answer_class(meant)
    assert grade(meant, written).correct is True


@pytest.mark.parametrize("text", NOT_DROPPED)
def test_a_sign_without_a_known_meaning_is_not_dropped(text: str) -> None:
    assert grade("5", text).correct is not True
    assert grade("x", text).correct is not True
    assert grade("1", text).correct is not True
