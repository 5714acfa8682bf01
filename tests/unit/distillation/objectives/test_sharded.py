"""The stages under FSDP2, on two processes of the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_gradients_and_steps_sharded_over_two_ranks_are_those_of_one_process():
    script = Path(__file__).parent / "sharded_gradients.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    run = subprocess.run(launch, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("5 stages agree") == 2
