"""Run the command line as a user does: in a folder of its own, with the shipped model.

A command that has to be killed is a process of its own; the others run in this one, which has imported all they need.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from timetrial.cli.main import run_command_line

SHIPPED = ("--model", "nutshell-llama", "--task", "nutshell", "--temperature", "0.8", "--quiet")


class CommandLine:
    """Runs `timetrial` in a folder."""

    def __init__(self, folder: Path, measure_rates: Callable) -> None:
        self.folder, self.measure_rates = folder, measure_rates
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TIMETRIAL_")}
        self.environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.environment["TIMETRIAL_REGISTRY"] = str(folder / "registry")

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start a command in a process of its own and return the process."""
        return subprocess.Popen(
            [sys.executable, "-m", "timetrial", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that starts the tests in the background has them, and their children, ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def __call__(self, *arguments: str, expect: int = 0) -> str:
        """Run a command to its end; return what it printed on stdout, or on stderr if it was to fail."""
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch("timetrial_plugins.engine.roofline.measure_rates", self.measure_rates),
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            code = run_command_line([str(argument) for argument in arguments])
        assert code == expect, f"exit code {code}\n{out.getvalue()}\n{err.getvalue()}"
        return (err if expect else out).getvalue()


@pytest.fixture
def timetrial(tmp_path, rates_measured_once):
    """Run `timetrial` in an empty folder."""
    return CommandLine(tmp_path, rates_measured_once)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, rates_measured_once):
    """A small run of the shipped model, everything included: 10 problems, 8 samples, timed and scored."""
    folder = tmp_path_factory.mktemp("finished")
    run = folder / "run"
    CommandLine(folder, rates_measured_once)(
        *("run", *SHIPPED, "--samples", "8", "--limit", "10", "--out", run),
        *("--reward-model", "likelihood:nutshell-llama", "--repeats", "2", "--batch", "1,4", "--new-tokens", "8"),
    )
    return run
