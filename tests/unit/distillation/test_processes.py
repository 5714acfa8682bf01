"""Training in processes of its own: killed, resumed, and spread over several by torchrun."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "training_process.py"

pytestmark = pytest.mark.slow


def train(folder, stage, *interruption, processes=1):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, str(SCRIPT), str(folder), stage, *map(str, interruption)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


def finish(folder, stage, processes=1):
    run = train(folder, stage, processes=processes)
    assert run.returncode == 0, run.stderr
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 13))
    return lines


def losses(lines):
    return [json.loads(line)["loss"] for line in lines]


def test_killed_twice_and_resumed_is_the_same_run_bit_for_bit(tmp_path):
    whole = finish(tmp_path / "whole", "mohawk-3")
    for step in (6, 11):
        assert train(tmp_path / "killed", "mohawk-3", "KILL", step).returncode == -9
    assert finish(tmp_path / "killed", "mohawk-3") == whole


@pytest.mark.parametrize("stage", ["mohawk-1", "mohawk-2", "mohawk-3"])
def test_two_processes_learn_what_one_does(tmp_path, stage):
    one, two = (losses(finish(tmp_path / str(n), stage, processes=n)) for n in (1, 2))
    assert two == pytest.approx(one, rel=1e-3)


def test_two_processes_killed_and_resumed_are_the_same_run_bit_for_bit(tmp_path):
    whole = finish(tmp_path / "whole", "mohawk-3", processes=2)
    assert train(tmp_path / "killed", "mohawk-3", "KILL", 6, processes=2).returncode != 0
    assert finish(tmp_path / "killed", "mohawk-3", processes=2) == whole


def test_four_processes_go_on_with_what_two_have_saved(tmp_path):
    one = losses(finish(tmp_path / "one", "mohawk-3"))
    stopped = train(tmp_path / "many", "mohawk-3", "TERM", 5, processes=2)
    assert stopped.returncode != 0
    assert [path.name for path in (tmp_path / "many" / "checkpoints").iterdir()].count("step-000000005") == 1
    assert losses(finish(tmp_path / "many", "mohawk-3", processes=4)) == pytest.approx(one, rel=1e-3)
