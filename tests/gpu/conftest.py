"""What runs on a CUDA device: `TRITON_INTERPRET=0 python -m pytest -m gpu`, or `make bench-gpu`."""

import os

import pytest
import torch

from timetrial_plugins.ops.packages import inspect_package


@pytest.fixture(scope="session")
def device():
    """The first CUDA device."""
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA device")
    return torch.device("cuda")


@pytest.fixture(scope="session")
def kernels(device):
    """The Triton operations, compiled."""
    if (problem := inspect_package("triton").problem) is not None:
        pytest.skip(problem)
    assert os.environ.get("TRITON_INTERPRET") != "1", "set TRITON_INTERPRET=0: interpreted kernels prove nothing here"
    from timetrial_plugins.ops.triton_ops import triton_ops

    return triton_ops()
