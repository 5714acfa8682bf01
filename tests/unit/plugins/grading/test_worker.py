"""What becomes of a question: the answer, or that the worker took too long, too much, or fell over. Real processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from timetrial_plugins.grading.worker import Limits, WorkerPool

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the served functions are POSIX")

QUICK = Limits(time_s=0.5, memory=400 << 20)
PATIENT = Limits(time_s=20.0, memory=400 << 20)


@pytest.fixture(autouse=True)
def serve_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers import `served`: they look where this process looks."""
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.fixture
def patient() -> Iterator[WorkerPool]:
    pool = WorkerPool("served:act", limits=PATIENT, size=1)
    yield pool
    pool.stop()


def ask(function: str, *arguments: object, limits: Limits = PATIENT):
    pool = WorkerPool(f"served:{function}", limits=limits, size=1)
    outcome = pool.ask(*arguments)
    pool.stop()
    return outcome


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("x", 1, 0.5, None, True, [], {"a": ["b"]}),
        ("\x00", "\ud800", "\u202e5", "\n\r\n", "\U0001f600", '"\\'),
        ("x" * 5_000_000,),
        ("\u221e" * 100_000, 10**400),
    ],
    ids=["nothing", "kinds", "odd texts", "huge", "long numbers"],
)
def test_an_answer_comes_back_as_it_was_given(arguments: tuple[object, ...]) -> None:
    outcome = ask("echo", *arguments)
    assert outcome.ending == "answered"
    assert outcome.value == list(arguments)


@pytest.mark.parametrize("what", ["hang", "close output", "start child"])
def test_a_question_that_takes_too_long_is_over_soon_after_the_limit_and_the_next_is_answered(what: str) -> None:
    pool = WorkerPool("served:act", limits=QUICK, size=1)
    assert pool.ask("warm up").value == "warm up"
    start = time.perf_counter()
    outcome = pool.ask(what)
    assert time.perf_counter() - start < QUICK.time_s + 1
    assert outcome.ending == ("died" if what == "close output" else "timed out")
    assert outcome.detail
    assert pool.ask("next").value == "next"
    pool.stop()


@pytest.mark.parametrize("what", ["eat", "eat at once", "fail in C for memory"])
def test_a_question_that_takes_too_much_memory_is_told_apart_and_the_next_is_answered(
    what: str, patient: WorkerPool
) -> None:
    assert patient.ask(what).ending == "out of memory"
    assert patient.ask("next").value == "next"


@pytest.mark.parametrize(
    ("what", "how"),
    [("abort", "SIGABRT"), ("exit", "exit code 3"), ("crash", "SIGSEGV"), ("last words", "these are my last words")],
)
def test_a_worker_that_dies_says_how_and_the_next_question_is_answered(
    what: str, how: str, patient: WorkerPool
) -> None:
    outcome = patient.ask(what)
    assert outcome.ending == "died"
    assert how in outcome.detail
    assert patient.ask("next").value == "next"


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("raise", "ValueError: a b"),
        ("raise long", "ValueError: xxx"),
        ("raise unspeakable", "Unspeakable"),
        ("raise beyond", "Beyond: beyond"),
        ("leave", "SystemExit: left"),
        ("recurse", "RecursionError: maximum recursion depth exceeded"),
        ("no JSON", "TypeError: Object of type set is not JSON serializable"),
    ],
)
def test_a_function_that_raises_fails_and_its_process_goes_on(what: str, how: str, patient: WorkerPool) -> None:
    outcome = patient.ask(what)
    assert outcome.ending == "failed"
    assert outcome.detail.startswith(how)
    assert len(outcome.detail) < 1_000
    assert patient.ask("next").value == "next"


@pytest.mark.parametrize(
    ("function", "how"),
    [
        ("served:nothing", "AttributeError"),
        ("no_such_module_at_all:f", "ModuleNotFoundError"),
        ("served", "AttributeError"),
    ],
)
def test_a_function_that_cannot_be_imported_fails_and_says_so(function: str, how: str) -> None:
    pool = WorkerPool(function, size=1)
    outcome = pool.ask()
    assert outcome.ending == "failed"
    assert f"cannot import {function}" in outcome.detail
    assert how in outcome.detail


def test_a_program_that_cannot_be_started_is_an_outcome_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    outcome = ask("echo")
    assert outcome.ending == "died"
    assert "could not be started" in outcome.detail


def test_a_process_that_does_not_get_ready_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("while True: pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    outcome = WorkerPool("slow_to_import:f", limits=Limits(start_s=0.3), size=1).ask()
    assert outcome.ending == "timed out"


def test_what_a_library_prints_or_reads_does_not_touch_the_protocol(patient: WorkerPool) -> None:
    assert patient.ask("chatter").value == ["", ""]
    assert patient.ask("next").value == "next"


def test_error_output_does_not_pile_up(patient: WorkerPool) -> None:
    assert patient.ask("flood").value >= 3 << 20
    assert patient.ask("error size").value == 0


def test_limits_hold_in_the_worker() -> None:
    value = ask("limits", limits=Limits(memory=1 << 30, recursion=1_234)).value
    assert (value["memory"], value["core"], value["recursion"]) == (1 << 30, 0, 1_234)
    assert 0 < value["cpu_s"] < 60


def test_one_process_serves_question_after_question() -> None:
    pool = WorkerPool("served:pid", size=3)
    assert len({pool.ask().value for _ in range(5)}) == 1
    pool.stop()


def test_a_worker_that_was_killed_from_outside_is_replaced() -> None:
    pool = WorkerPool("served:pid", size=1)
    first = pool.ask().value
    os.kill(first, 9)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)  # it is dead, and not yet reaped
    second = pool.ask()
    assert second.ending == "answered"
    assert second.value != first
    pool.stop()


def test_nothing_is_left_of_a_stopped_worker() -> None:
    pool = WorkerPool("served:pid", size=1)
    pid = pool.ask().value
    pool.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert pool.ask().value != pid, "a stopped pool starts again when it is asked"
    pool.stop()


def test_a_worker_is_in_a_session_of_its_own_where_ctrl_c_does_not_reach_it() -> None:
    session = ask("session").value
    assert session != os.getsid(0)


def test_settings_of_python_do_not_change_what_workers_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "123")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert ask("environment").value == {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    assert ask("hash_of", "text").value == ask("hash_of", "text").value


def test_workers_look_for_modules_where_their_parent_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("json", "queue", "threading", "importlib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported by mistake')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    import sys

    assert ask("path").value == sys.path
