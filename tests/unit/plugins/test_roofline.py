"""The machine's measured rates, and what its memory is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from timetrial.clock import MonotonicClock
from timetrial.spec import LoadOptions
from timetrial.testing.fake import FakeClock
from timetrial_plugins.engine import placement, roofline

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure little, to be quick."""
    monkeypatch.setattr(roofline, "_WORKING_SETS", (1 << 20, 1 << 22))
    monkeypatch.setattr(roofline, "_BYTES_PER_READING", 1 << 22)
    monkeypatch.setattr(roofline, "_MATRIX_SIZES", {"cpu": (64, 128)})


@pytest.mark.usefixtures("small")
def test_rates_are_work_over_the_time_of_the_clock() -> None:
    rates = roofline.measure_rates(LoadOptions(device="cpu", dtype="float32"), FakeClock(step_s=0.5))
    assert rates.bandwidths == ((1 << 20, 2 * (1 << 22)), (1 << 22, 2 * (1 << 22)))
    assert rates.flops_per_s == 2 * 2 * 128**3
    assert (rates.device, rates.dtype) == ("cpu", "float32")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_real_machine_does_more_than_a_megabyte_and_a_megaflop_a_second(dtype: str) -> None:
    clock = MonotonicClock(lambda: None)
    rates = roofline.measure_rates(LoadOptions(device="cpu", dtype=dtype), clock)
    assert all(1e6 < rate < 1e14 for _, rate in rates.bandwidths) and 1e6 < rates.flops_per_s < 1e16


def test_the_shortest_reading_counts_and_the_first_does_not() -> None:
    clock, taken_s = FakeClock(step_s=0.0), iter((0.01, 3.0, 2.0, 4.0))
    assert roofline._shortest_s(lambda: clock.advance(next(taken_s)), clock) == pytest.approx(2.0)


def test_free_memory_is_what_the_tighter_of_system_and_container_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "_linux_bytes", lambda file, name: 10_000)
    monkeypatch.setattr(placement, "_CONTROL_GROUP", tmp_path)
    assert placement.free_bytes(CPU) == 10_000
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert placement.free_bytes(CPU) == 10_000
    (tmp_path / "memory.max").write_text("7000\n")
    assert placement.free_bytes(CPU) == 4_000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can begin the peak anew")
def test_the_peak_of_a_cpu_begins_anew() -> None:
    filler = torch.ones(1 << 26)  # 256 MiB
    high = placement.peak_bytes(CPU)
    del filler
    placement.reset_peak(CPU)
    low = placement.peak_bytes(CPU)
    assert high is not None and low is not None and high - low > 200 * (1 << 20)
