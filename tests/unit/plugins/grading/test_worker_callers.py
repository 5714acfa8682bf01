"""Workers serve any kind of caller, leave its signals and processes alone, and do not outlive it. Real processes."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from timetrial_plugins.grading.worker import Limits, WorkerPool

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the served functions are POSIX")

HERE = Path(__file__).parent
PATIENT = Limits(time_s=20.0)
PREAMBLE = f"""\
import os, signal, sys
sys.path.insert(0, {str(HERE)!r})
from timetrial_plugins.grading.worker import Limits, WorkerPool

def pool(function, time_s=20.0, **options):
    return WorkerPool("served:" + function, limits=Limits(time_s=time_s), **options)

"""


@pytest.fixture(autouse=True)
def serve_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool("served:act", limits=PATIENT, size=2)
    yield pool
    pool.stop()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Yield a socket to which a served function connects, so that the test sees the end of its process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        yield listening


def is_gone(connection: socket.socket) -> bool:
    """Wait for the other side of a connection to end."""
    with connection:
        connection.settimeout(60)
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


def program(tmp_path: Path, body: str, *flags: str) -> list[str]:
    """Return the command of a Python program in which every warning is an error."""
    file = tmp_path / "program.py"
    file.write_text(PREAMBLE + textwrap.dedent(body), encoding="utf-8")
    return [sys.executable, "-W", "error", *flags, str(file)]


def output_of(tmp_path: Path, body: str, *flags: str) -> str:
    """Run a program that ends by itself and says nothing on its error output."""
    run = subprocess.run(program(tmp_path, body, *flags), capture_output=True, text=True, timeout=60)
    assert (run.stderr, run.returncode) == ("", 0)
    return run.stdout.strip()


def test_many_threads_share_a_few_processes_and_each_gets_its_own_answer() -> None:
    pool = WorkerPool("served:echo", limits=PATIENT, size=2)
    pids = WorkerPool("served:pid", limits=PATIENT, size=2)
    answers: dict[int, list[object]] = {}
    seen: set[int] = set()

    def work(number: int) -> None:
        answers[number] = [pool.ask(number, turn).value for turn in range(5)]
        seen.add(pids.ask().value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [[number, turn] for turn in range(5)] for number in range(8)}
    assert 1 <= len(seen) <= 2
    pool.stop()
    pids.stop()


def test_a_question_that_hangs_does_not_hold_up_those_of_other_threads() -> None:
    pool = WorkerPool("served:act", limits=Limits(time_s=1.0), size=2)
    pool.ask("warm up")
    endings: list[str] = []

    def hang() -> None:
        endings.append(pool.ask("hang").ending)

    thread = threading.Thread(target=hang)
    thread.start()
    answers = [pool.ask(str(number)).value for number in range(5)]
    assert endings == [], "the question that hangs is still being asked"
    thread.join()
    assert answers == ["0", "1", "2", "3", "4"]
    assert endings == ["timed out"]
    pool.stop()


def test_coroutines_may_ask_directly_and_through_threads(pool: WorkerPool) -> None:
    async def ask() -> list[object]:
        direct = pool.ask("direct")
        others = await asyncio.gather(*(asyncio.to_thread(pool.ask, f"{number}") for number in range(4)))
        return [outcome.value for outcome in (direct, *others)]

    assert asyncio.run(ask()) == ["direct", "0", "1", "2", "3"]


def test_signals_and_timers_are_those_of_the_caller(tmp_path: Path) -> None:
    body = """
    numbers = (signal.SIGINT, signal.SIGALRM, signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE)
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 1_000)
    before = [signal.getsignal(number) for number in numbers]
    act = pool("act", time_s=0.5, size=1)
    endings = [act.ask(what).ending for what in ("a", "hang", "abort", "b")]
    assert endings == ["answered", "timed out", "died", "answered"]
    assert [signal.getsignal(number) for number in numbers] == before
    assert 900 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1_000
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    print("fine")
    """
    assert output_of(tmp_path, body) == "fine"


def test_an_alarm_of_the_caller_fires_while_a_question_is_asked(tmp_path: Path) -> None:
    """A handler that returns is called and the answer awaited; what a handler raises comes out, even an OSError."""
    body = """
    def alarm(number, frame):
        fired.append(number)
        if len(fired) == 2:
            raise TimeoutError("the caller's own")

    fired = []
    act = pool("act", time_s=0.5, size=1)
    act.ask("warm up")
    signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    assert act.ask("hang").ending == "timed out"
    assert len(fired) == 1
    act.ask("warm up")
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        act.ask("hang")
    except TimeoutError as error:
        print(error)
    assert act.ask("next").value == "next", "and not the answer to the question before"
    """
    assert output_of(tmp_path, body) == "the caller's own"


@pytest.mark.parametrize(
    "handling",
    [
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.signal(signal.SIGCHLD, lambda number, frame: reap())",
    ],
    ids=["ignored", "reaped by a handler"],
)
def test_callers_that_reap_every_child_themselves_are_served(tmp_path: Path, handling: str) -> None:
    body = f"""
    def reap():
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    {handling}
    act = pool("act", time_s=1.0, size=1)
    print([act.ask(what).ending for what in ("a", "hang", "b", "abort", "c", "exit", "d")])
    """
    assert output_of(tmp_path, body) == str(
        ["answered", "timed out", "answered", "died", "answered", "died", "answered"]
    )


def test_a_forked_child_starts_its_own_workers_and_leaves_its_parents_alone(tmp_path: Path) -> None:
    body = """
    pids = pool("pid", size=1)
    mine = pids.ask().value
    child = os.fork()
    if child == 0:
        first, second = pids.ask().value, pids.ask().value
        sys.exit(0 if first == second != mine else 1)  # with all that a program does at its end
    assert os.waitpid(child, 0)[1] == 0
    assert pids.ask().value == mine
    print("fine")
    """
    assert output_of(tmp_path, body) == "fine"


def test_a_fork_among_busy_threads_leaves_the_child_able_to_ask(tmp_path: Path) -> None:
    body = """
    import threading, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # that one should not fork among threads
    act = pool("act", time_s=1.0, size=1)
    act.ask("warm up")
    thread = threading.Thread(target=act.ask, args=("hang",))
    thread.start()
    child = os.fork()
    if child == 0:
        os._exit(0 if act.ask("mine").value == "mine" else 1)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()
    print(act.ask("next").value)
    """
    assert output_of(tmp_path, body) == "next"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_may_ask_however_they_are_started(tmp_path: Path, method: str) -> None:
    body = f"""
    import multiprocessing, warnings
    echoes = pool("echo", size=1)

    def ask(number):
        return echoes.ask(number).value

    if __name__ == "__main__":
        warnings.simplefilter("ignore", DeprecationWarning)  # that one should not fork among threads
        echoes.ask("warm up")
        with multiprocessing.get_context("{method}").Pool(2) as processes:
            print(processes.map(ask, range(4)))
            processes.close()
            processes.join()
    """
    assert output_of(tmp_path, body) == "[[0], [1], [2], [3]]"


@pytest.mark.parametrize("flags", [(), ("-I",), ("-X", "dev"), ("-P", "-s")], ids=str)
def test_a_program_ends_at_once_without_a_warning_and_its_worker_with_it(
    tmp_path: Path, listener: socket.socket, flags: tuple[str, ...]
) -> None:
    body = f"print(pool('keep').ask({listener.getsockname()[1]}).value)"
    assert output_of(tmp_path, body, *flags).isdigit()
    assert is_gone(listener.accept()[0])


@pytest.mark.parametrize("function", ["keep", "hold"], ids=["idle", "busy"])
def test_no_worker_outlives_a_killed_parent(tmp_path: Path, listener: socket.socket, function: str) -> None:
    body = f"""
    import threading
    pool({function!r}, time_s=1_000.0).ask({listener.getsockname()[1]})
    threading.Event().wait()
    """
    with subprocess.Popen(program(tmp_path, body)) as process:
        connection = listener.accept()[0]
        process.kill()
    assert is_gone(connection)


def test_a_worker_is_killed_with_what_it_computes_when_the_program_ends(
    tmp_path: Path, listener: socket.socket
) -> None:
    body = f"""
    import threading
    holding = pool("hold", time_s=1_000.0)
    threading.Thread(target=holding.ask, args=({listener.getsockname()[1]},), daemon=True).start()
    sys.stdin.read()
    """
    with subprocess.Popen(program(tmp_path, body), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        connection = listener.accept()[0]
        _, errors = process.communicate(timeout=60)
    assert is_gone(connection)
    assert (errors, process.returncode) == (b"", 0)
