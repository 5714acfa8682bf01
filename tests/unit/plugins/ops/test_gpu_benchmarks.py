"""What needs a device says so and does nothing without one."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"


@pytest.mark.parametrize("script", ["gpu.py", "kernels.py"])
def test_without_a_device_the_benchmark_is_refused(script, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run = subprocess.run([sys.executable, BENCHMARKS / script], capture_output=True, text=True)
    assert run.returncode == 1 and run.stdout == ""
    assert "needs a CUDA device" in run.stderr and "timetrial doctor" in run.stderr
