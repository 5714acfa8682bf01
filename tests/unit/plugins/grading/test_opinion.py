"""sympy asked through a worker: verdicts with reasons, whatever it is asked. Real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from timetrial.record import Verdict
from timetrial_plugins.grading.opinion import SYMBOLIC, symbolic_verdict, verdict, workers
from timetrial_plugins.grading.process import Outcome


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        (r"\sin^2 x", r"1-\cos^2 x", Verdict(correct=True)),
        ("x+1", "x+2", Verdict(correct=False)),
        ("x", "|x|", Verdict(correct=None, reason="undecided: equal for positive values of the names only")),
        ("5", r"\frac{1}{0}", Verdict(correct=None, reason="undecided: division by zero")),
    ],
)
def test_sympys_word_is_a_verdict(gold: str, answer: str, expected: Verdict) -> None:
    assert symbolic_verdict(gold, answer) == expected


def test_what_is_no_formula_is_not_understood() -> None:
    reason = symbolic_verdict("5", "))((").reason
    assert reason is not None and reason.startswith("not understood: ")


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(ending="timed out", detail="no answer within 1.5 s"), "timed out: no answer within 1.5 s"),
        (Outcome(ending="out of memory", detail="2048 MB"), "out of memory: 2048 MB"),
        (Outcome(ending="died", detail="SIGSEGV"), "grading failed: SIGSEGV"),
        (Outcome(ending="failed", detail="TypeError: no"), "grading failed: TypeError: no"),
    ],
)
def test_an_outcome_without_an_answer_is_unknown_and_says_why(outcome: Outcome, reason: str) -> None:
    assert verdict(outcome) == Verdict(correct=None, reason=reason)


def test_there_is_one_pool_for_a_function() -> None:
    assert workers(SYMBOLIC) is workers(SYMBOLIC)


def test_asking_needs_no_sympy_in_this_process(tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "from timetrial_plugins.grading.opinion import symbolic_verdict\n"
        "said = symbolic_verdict('x+x', '2x').correct\n"
        "print(json.dumps([said, 'sympy' in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (run.stderr, run.returncode) == ("", 0)
    assert json.loads(run.stdout) == [True, False]
