"""The fastest implementation is used, by measured seconds, and what was measured is kept."""

from dataclasses import replace

import pytest
import torch

from timetrial_plugins.ops.activation import activate
from timetrial_plugins.ops.calibration import calibrate, choose
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.selection import Implementation
from timetrial_plugins.ops.trials import Trials, TrialSizes

SIZES = TrialSizes(rows=1, model_width=32, heads=2, kv_heads=2, head_dim=16, mlp_width=4, vocabulary=4, slots=4)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"triton": 1.0, "mamba-ssm": 0.9}, "mamba-ssm"),
        ({"triton": 1.0, "mamba-ssm": 0.98}, "triton"),
        ({"triton": 1.0, "mamba-ssm": 1.5}, "triton"),
        ({"triton": 1.0}, "triton"),
        ({"triton": 1.0, "a": 0.8, "b": 0.7}, "b"),
    ],
    ids=str,
)
def test_a_challenger_must_be_faster_by_more_than_noise(seconds, chosen):
    assert choose(seconds, "triton") == chosen


class Stopwatch:
    """Says how long named work takes, after doing it."""

    def __init__(self, **seconds):
        self.seconds = seconds
        self.last = None

    def operation(self, name):
        def work(*arguments):
            self.last = name
            return name

        return work

    def __call__(self, work):
        work()
        return self.seconds[self.last]


def test_each_operation_is_chosen_by_itself_and_what_is_not_tried_stays():
    watch = Stopwatch(slow=2.0, quick=1.0, slower=3.0)
    ops, measurements = calibrate(
        replace(REFERENCE, mamba1=watch.operation("slow"), attend=watch.operation("slow")),
        "triton",
        {"mamba-ssm": {"mamba1": watch.operation("quick")}, "flash-attn": {"attend": watch.operation("slower")}},
        {"mamba1": (), "attend": (), "draw": ()},
        watch,
    )
    assert ops.mamba1() == "quick" and ops.attend() == "slow" and ops.draw is REFERENCE.draw
    assert [(found.operation, found.chosen) for found in measurements] == [
        ("mamba1", "mamba-ssm"),
        ("attend", "triton"),
    ]
    assert measurements[0].seconds == {"triton": 2.0, "mamba-ssm": 1.0}


def test_a_challenger_that_fails_is_left_out_and_its_words_are_kept():
    def refuse(*arguments):
        raise RuntimeError("Only supports head dimensions\n that are multiples of 8")

    watch = Stopwatch(slow=2.0)
    ops, (found,) = calibrate(
        replace(REFERENCE, attend=watch.operation("slow")),
        "triton",
        {"flash-attn": {"attend": refuse}},
        {"attend": ()},
        watch,
    )
    assert ops.attend() == "slow" and found.chosen == "triton"
    assert found.failures == {"flash-attn": "RuntimeError: Only supports head dimensions that are multiples of 8"}


def test_the_default_may_not_fail():
    def fail(*arguments):
        raise RuntimeError("broken")

    watch = Stopwatch(quick=1.0)
    challengers = {"mamba-ssm": {"mamba1": watch.operation("quick")}}
    with pytest.raises(RuntimeError, match="broken"):
        calibrate(replace(REFERENCE, mamba1=fail), "triton", challengers, {"mamba1": ()}, watch)


def entries(**states):
    return [Implementation(name.replace("_", "-"), "", state, None) for name, state in states.items()]


def test_a_device_without_triton_gets_pytorch_and_nothing_is_measured():
    active = activate(entries(triton="unusable", pytorch="active", flash_attn="unusable"), {"attend": ()}, None)
    assert active.ops is REFERENCE and active.summary == "pytorch" and active.measurements == ()


def test_a_library_that_is_faster_takes_over_its_operation_and_is_named(triton):
    watch = Stopwatch(mamba1=1.0)
    watch.seconds |= {None: 2.0}  # the kernel that no name was given to
    trials = {"mamba1": Trials(SIZES, torch.device("cpu"), torch.float32).all()["mamba1"]}
    loaders = {"mamba-ssm": lambda ops: {"mamba1": watch.operation("mamba1")}}
    active = activate(entries(triton="active", mamba_ssm="candidate", pytorch="fallback"), trials, watch, loaders)
    assert active.summary == "triton, mamba1 by mamba-ssm"
    assert active.ops.mamba1() == "mamba1" and active.ops.draw is triton.draw
