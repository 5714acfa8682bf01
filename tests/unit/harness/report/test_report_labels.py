"""Labels: the same numbers and names read the same everywhere."""

import pytest

from timetrial.report.labels import round_seconds, rule_label, seconds_label, shortened, slug


@pytest.mark.parametrize(
    ("seconds", "label"),
    [
        (0.0000042, "4.2 us"),
        (0.0123, "12.3 ms"),
        (0.82, "0.82 s"),
        (0.99999, "1 s"),
        (58.8, "58.8 s"),
        (99.96, "1.67 min"),
        (204, "3.4 min"),
        (7200, "2 h"),
    ],
)
def test_seconds_have_three_digits_and_a_unit_that_suits(seconds, label):
    assert seconds_label(seconds) == label


@pytest.mark.parametrize(("low", "high"), [(3.1, 37.0), (0.11, 1.6), (1e-4, 1e3), (5.0, 5.5)])
def test_round_seconds_lie_in_range_and_are_at_most_eight(low, high):
    ticks = round_seconds(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)


def test_rules_that_take_scores_name_their_reward_model(curve):
    assert rule_label(curve("a", rule="weighted-best-of-n")) == "weighted-best-of-n (prm, last)"
    assert rule_label(curve("a", rule="majority")) == "majority"
    assert rule_label(curve("a")) == "coverage (pass@k)"


def test_slug_keeps_nothing_that_a_path_could_misread():
    assert slug("../../etc/passwd", "Weighted (prm, last)", "T 0.8") == "etc-passwd-weighted-prm-last-t-0-8"


@pytest.mark.parametrize("length", [10, 11, 30])
def test_shortened_text_has_the_length_asked_for_and_keeps_both_ends(length):
    text = "start-" + "x" * 50 + "-end"
    short = shortened(text, length)
    assert len(short) == length and short[:3] == "sta" and short[-3:] == "end"
    assert shortened("short", length) == "short"
