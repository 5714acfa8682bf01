import pytest

from timetrial.error import UsageError
from timetrial_distillation.schedule import Schedule


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.1), (9, 1.0), (10, 1.0), (89, 1.0), (90, 1.0), (95, 0.5), (99, 0.1)],
)
def test_wsd_warms_up_holds_and_decays(step, expected):
    assert Schedule(kind="wsd").multiplier(step, 100) == pytest.approx(expected)


def test_cosine_falls_from_the_peak_to_the_floor():
    schedule = Schedule(kind="cosine", warmup_fraction=0.1, floor=0.2)
    values = [schedule.multiplier(step, 1000) for step in range(100, 1000)]
    assert values[0] == 1.0
    assert values == sorted(values, reverse=True)
    assert schedule.multiplier(550, 1000) == pytest.approx(0.6)
    assert values[-1] == pytest.approx(0.2, abs=1e-4)


@pytest.mark.parametrize("kind", ["wsd", "cosine"])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 100])
def test_the_rate_is_never_zero_and_never_above_the_peak(kind, num_steps):
    schedule = Schedule(kind=kind)
    assert all(0 < schedule.multiplier(step, num_steps) <= 1 for step in range(num_steps))


def test_without_warmup_and_decay_the_rate_is_constant():
    schedule = Schedule(warmup_fraction=0.0, decay_fraction=0.0)
    assert {schedule.multiplier(step, 10) for step in range(10)} == {1.0}


@pytest.mark.parametrize(
    "values",
    [
        {"warmup_fraction": -0.1},
        {"decay_fraction": 1.5},
        {"floor": 2.0},
        {"warmup_fraction": 0.6, "decay_fraction": 0.6},
        {"kind": "linear"},
    ],
)
def test_impossible_schedules_are_refused(values):
    with pytest.raises(UsageError, match="|".join(values)):
        Schedule(**values)
