"""Steps are warmed up, recorded once per bucket, and replayed; what cannot be recorded runs eagerly and says why."""

import pytest

from timetrial.testing import FakeClock
from timetrial_plugins.engine.graph import Bucket, Buckets, GraphRunner, row_sizes, slot_sizes
from timetrial_plugins.engine.graph_timing import GraphStopwatch
from timetrial_plugins.engine.step_plan import StepPlan, plan_steps
from timetrial_plugins.ops.packages import MODULES, Package
from timetrial_plugins.ops.selection import DeviceFacts, implementations

HOPPER = DeviceFacts("cuda", (9, 0))


class FakeRecorder:
    """Records host calls; like a device it executes nothing while it records."""

    def __init__(self, fails_at=None):
        self.fails_at = fails_at
        self.log = []

    def warm_up(self, work):
        self.log.append("warm up")
        work()

    def record(self, work):
        self.log.append("record")
        if self.fails_at == self.log.count("record"):
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        return work


def runner_of(recorder, rows=16, capacity=512):
    steps = []
    problem = None if recorder else "no device"
    return GraphRunner(steps.append, Buckets.up_to(rows, capacity), recorder, problem), steps


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (5, (1, 2, 3, 4, 5)),
        (16, (1, 2, 3, 4, 6, 8, 12, 16)),
        (100, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 100)),
    ],
)
def test_rows_come_in_powers_of_two_and_half_way_between(most, sizes):
    assert row_sizes(most) == sizes


def test_a_bucket_is_never_more_than_half_again_as_large():
    sizes = row_sizes(512)
    for rows in range(1, 513):
        bucket = next(size for size in sizes if size >= rows)
        assert bucket <= max(rows, 1.5 * rows)


@pytest.mark.parametrize(("capacity", "sizes"), [(1, (1,)), (128, (128,)), (129, (128, 129)), (300, (128, 256, 300))])
def test_slots_come_in_multiples_of_128_up_to_the_capacity(capacity, sizes):
    assert slot_sizes(capacity) == sizes


@pytest.mark.parametrize(
    ("rows", "slots", "bucket"),
    [(1, 1, (1, 128)), (5, 128, (6, 128)), (6, 129, (6, 256)), (13, 400, (16, 400))],
)
def test_the_smallest_bucket_that_holds_a_batch_is_taken(rows, slots, bucket):
    assert Buckets.up_to(16, 400).holding(rows, slots) == bucket


@pytest.mark.parametrize(("rows", "slots"), [(0, 1), (17, 1), (1, 401), (1, 0)])
def test_what_no_bucket_holds_is_refused(rows, slots):
    with pytest.raises(AssertionError, match="in buckets of up to"):
        Buckets.up_to(16, 400).holding(rows, slots)


def test_a_bucket_is_warmed_up_recorded_once_and_replayed_and_every_call_is_one_step():
    recorder = FakeRecorder()
    runner, steps = runner_of(recorder)
    for rows in (5, 6, 5, 6, 5, 5):
        runner.run(rows, 100)
    assert recorder.log == ["warm up", "warm up", "record"]
    assert steps == [Bucket(6, 128)] * 6
    assert runner.recorded == (Bucket(6, 128),) and runner.problem is None


def test_buckets_are_recorded_apart():
    recorder = FakeRecorder()
    runner, steps = runner_of(recorder)
    for _ in range(4):
        runner.run(3, 10)
        runner.run(3, 200)
        runner.run(4, 10)
    assert recorder.log.count("record") == 3
    assert len(steps) == 12
    assert set(runner.recorded) == {(3, 128), (3, 256), (4, 128)}


def test_a_new_stamp_makes_recordings_stale_without_another_warm_up():
    recorder = FakeRecorder()
    runner, steps = runner_of(recorder)
    for stamp in ("address 1", "address 1", "address 1", "address 1", "address 2", "address 2"):
        runner.run(2, 1, stamp)
    assert recorder.log == ["warm up", "warm up", "record", "record"]
    assert len(steps) == 6


def test_where_recording_fails_steps_run_eagerly_and_the_reason_is_kept():
    recorder = FakeRecorder(fails_at=2)
    runner, steps = runner_of(recorder)
    for _ in range(4):
        runner.run(2, 1)
    for _ in range(4):
        runner.run(3, 1)
    runner.run(2, 1)
    assert recorder.log.count("record") == 2
    assert steps[-2:] == [Bucket(3, 1), Bucket(2, 1)], "eager steps are as large as they need to be"
    assert len(steps) == 9
    assert runner.problem == "recording a CUDA graph failed (operation not permitted when stream is capturing)"
    assert runner.recorded == ()


def test_without_a_recorder_steps_run_eagerly_for_a_reason():
    runner, steps = runner_of(None)
    runner.run(5, 77)
    assert steps == [Bucket(5, 77)] and runner.problem == "no device"


def plan(device, *, absent=()):
    packages = {name: Package(name=name, version=None if name in absent else "1.0") for name in MODULES}
    return plan_steps(device, implementations(device, packages))


def test_on_a_gpu_steps_are_graphs_of_triton_kernels():
    assert plan(HOPPER) == StepPlan(kernels="triton", is_recorded=True, reasons=())


@pytest.mark.parametrize(
    ("device", "options", "is_recorded", "reasons"),
    [
        (HOPPER, {"absent": ["triton"]}, True, ("triton is not installed",)),
        (DeviceFacts("cuda", (7, 0)), {}, True, ("compute capability 7.0 is less than 8.0",)),
        (DeviceFacts("cpu"), {}, False, ()),
    ],
    ids=["no triton", "old device", "cpu"],
)
def test_a_fallback_says_what_it_is_and_why(device, options, is_recorded, reasons):
    assert plan(device, **options) == StepPlan(kernels="pytorch", is_recorded=is_recorded, reasons=reasons)


def test_work_is_timed_in_replays_of_many_repetitions():
    """The work takes 3 ms at first and 1 ms later; a reading of 20 repetitions takes the clock's own step as well."""
    clock = FakeClock(step_s=0.002)
    calls = []

    def work():
        calls.append(1)
        clock.advance(0.003 if len(calls) < 40 else 0.001)

    seconds = GraphStopwatch(FakeRecorder(), clock, readings=3).shortest_s(work)
    assert seconds == pytest.approx((20 * 0.001 + 0.002) / 20)
    assert len(calls) == 2 + 20 * (1 + 3)
