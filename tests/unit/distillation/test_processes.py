"""Training in processes of its own: killed, resumed, and spread over several by torchrun."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "training_process.py"

pytestmark = pytest.mark.slow


def train(folder, stages, *interruption, processes=1):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, str(SCRIPT), str(folder), stages, *map(str, interruption)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


def finish(folder, stages, processes=1):
    """Train to the end; return the lines of each stage's log."""
    run = train(folder, stages, processes=processes)
    assert run.returncode == 0, run.stderr
    logs = {stage: (folder / stage / "log.jsonl").read_text().splitlines() for stage in stages.split(",")}
    for lines in logs.values():
        assert [json.loads(line)["step"] for line in lines] == list(range(1, 13))
    return logs


def losses(lines):
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the logs of all stages, trained without interruption, by the number of processes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return {processes: finish(folder / str(processes), "mohawk-1,mohawk-2,mohawk-3", processes) for processes in (1, 2)}


def test_killed_twice_and_resumed_is_the_same_run_bit_for_bit(tmp_path, undisturbed):
    for step in (6, 11):
        assert train(tmp_path, "mohawk-3", "KILL", step).returncode == -9
    assert finish(tmp_path, "mohawk-3")["mohawk-3"] == undisturbed[1]["mohawk-3"]


@pytest.mark.parametrize("stage", ["mohawk-1", "mohawk-2", "mohawk-3"])
def test_two_processes_learn_what_one_does(undisturbed, stage):
    one, two = (losses(undisturbed[processes][stage]) for processes in (1, 2))
    assert two == pytest.approx(one, rel=1e-3)


def test_two_processes_killed_and_resumed_are_the_same_run_bit_for_bit(tmp_path, undisturbed):
    assert train(tmp_path, "mohawk-3", "KILL", 6, processes=2).returncode != 0
    assert finish(tmp_path, "mohawk-3", processes=2)["mohawk-3"] == undisturbed[2]["mohawk-3"]


def test_four_processes_go_on_with_what_two_have_saved(tmp_path, undisturbed):
    stopped = train(tmp_path, "mohawk-3", "TERM", 5, processes=2)
    assert stopped.returncode != 0
    saved = [path.name for path in (tmp_path / "mohawk-3" / "checkpoints").iterdir()]
    assert saved.count("step-000000005") == 1
    continued = losses(finish(tmp_path, "mohawk-3", processes=4)["mohawk-3"])
    assert continued == pytest.approx(losses(undisturbed[1]["mohawk-3"]), rel=1e-3)
