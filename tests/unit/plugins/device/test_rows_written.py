"""What is known of rows is written into memory that steps of inference mode made, from outside of it, on any device."""

import pytest
import torch

from timetrial_plugins.device.memory import write_rows


@pytest.mark.parametrize(
    "values", [[(1, 2), (3, 4)], [[7, 8]], torch.tensor([[7.0, 8.0]])], ids=["each", "one", "tensor"]
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_values_are_written_over_the_rows_and_nothing_else(values, dtype):
    with torch.inference_mode():
        memory = torch.zeros(2, 5, dtype=dtype)
    write_rows(memory.mT, [3, 1], values)
    expected = torch.zeros(5, 2, dtype=dtype)
    expected[[3, 1]] = torch.as_tensor(values).to(dtype)
    assert torch.equal(memory.mT, expected)


@pytest.mark.parametrize("values", [[(1, 2), (3, 4)], [[7, 8]]], ids=["each", "one"])
def test_memory_of_another_device_takes_them_as_well(values):
    with torch.inference_mode():
        memory = torch.zeros(2, 5, dtype=torch.int64, device="meta")
    write_rows(memory.mT, [3, 1], values)
    write_rows(memory[1][:, None], [0], [[0]])


def test_other_devices_refuse_writes_from_outside_of_inference_mode():
    """Which is what the test before relies on."""
    with torch.inference_mode():
        memory = torch.zeros(5, device="meta")
    with pytest.raises(RuntimeError, match="outside InferenceMode"):
        memory[torch.tensor([1], device="meta")] = torch.zeros(1, device="meta")
