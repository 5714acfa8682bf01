"""Floors: what a step costs over a window of contexts, and the least time it takes at measured rates."""

import pytest

from timetrial.floor import decode_cost, step_floor_s
from timetrial.protocol import StepCost
from timetrial.rates import MachineRates
from timetrial.testing import EchoModel


def rates(*bandwidths, flops_per_s=100.0):
    return MachineRates(bandwidths=bandwidths or ((1, 10.0),), flops_per_s=flops_per_s, device="x", dtype="float32")


class Attention(EchoModel):
    """1000 bytes of weights, 2 bytes of context per sequence and token, 50 operations per sequence."""

    def costs(self, batch, context):
        return StepCost(bytes_moved=1000 + 2 * batch * context, flops=50 * batch)


def test_a_step_takes_the_slower_of_reading_and_multiplying_weights_and_then_its_sequences():
    weights = StepCost(bytes_moved=100, flops=0)
    assert step_floor_s(StepCost(bytes_moved=130, flops=20), weights, rates()) == pytest.approx(10 + 3)
    assert step_floor_s(StepCost(bytes_moved=130, flops=2000), weights, rates()) == pytest.approx(20 + 3)


def test_a_window_costs_the_mean_of_its_steps():
    new_tokens, batch = 7, 3
    cost = decode_cost(Attention(), batch, 10, new_tokens, rates())
    steps = [Attention().costs(batch, 10 + step) for step in range(1, new_tokens + 1)]
    assert cost.step_bytes == pytest.approx(sum(step.bytes_moved for step in steps) / new_tokens)
    assert cost.step_flops == pytest.approx(150)
    weights = Attention().costs(0, 1)
    assert cost.floor_s == pytest.approx(sum(step_floor_s(step, weights, rates()) for step in steps))


def test_without_rates_there_are_costs_and_no_floor():
    cost = decode_cost(Attention(), 1, 10, 1, None)
    assert (cost.step_bytes, cost.floor_s) == (1022, None)


@pytest.mark.parametrize(("working_set", "expected"), [(1, 9.0), (4, 9.0), (15, 9.0), (16, 5.0), (64, 5.0), (999, 5.0)])
def test_a_bandwidth_is_never_lower_than_one_measured_at_a_larger_working_set(working_set, expected):
    """The one at 16 was disturbed: a larger set cannot be read faster."""
    assert rates((4, 9.0), (16, 3.0), (64, 5.0)).bytes_per_s(working_set) == expected


def test_no_more_than_the_smallest_measured_set_is_known_below_it():
    assert rates((16, 3.0), (64, 5.0)).bytes_per_s(1) == 5.0
