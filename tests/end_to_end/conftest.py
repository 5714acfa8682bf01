"""Run the command line as a user does: in a process of its own, with the shipped model."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SHIPPED = ("--model", "nutshell-llama", "--task", "nutshell", "--temperature", "0.8", "--quiet")


class CommandLine:
    """Runs `timetrial` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TIMETRIAL_")}
        self.environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.environment["TIMETRIAL_REGISTRY"] = str(folder / "registry")

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start a command and return the process."""
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
        process = self.start(*arguments)
        out, err = process.communicate(timeout=110)
        assert process.returncode == expect, f"exit code {process.returncode}\n{out}\n{err}"
        return err if expect else out


@pytest.fixture
def timetrial(tmp_path):
    """Run `timetrial` in an empty folder."""
    return CommandLine(tmp_path)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A small run of the shipped model, everything included: 10 problems, 8 samples, timed and scored."""
    folder = tmp_path_factory.mktemp("finished")
    run = folder / "run"
    CommandLine(folder)(
        *("run", *SHIPPED, "--samples", "8", "--limit", "10", "--out", run),
        *("--reward-model", "likelihood:nutshell-llama", "--repeats", "2", "--batch", "1,4", "--new-tokens", "8"),
    )
    return run
