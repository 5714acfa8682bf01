"""Points of a front that lie close to each other share a label."""

import math
from types import SimpleNamespace

import pytest

from timetrial.report.strokes import neighbours


def grouped(seconds, distance):
    groups = neighbours([SimpleNamespace(seconds=value) for value in seconds], distance)
    return [[point.seconds for point in group] for group in groups]


@pytest.mark.parametrize(
    ("seconds", "groups"),
    [
        ([], []),
        ([2.0], [[2.0]]),
        ([1.0, 1.05, 3.0, 3.1, 3.2, 9.0], [[1.0, 1.05], [3.0, 3.1, 3.2], [9.0]]),
        ([1.0, 1.08, 1.16], [[1.0, 1.08], [1.16]]),
    ],
)
def test_groups_are_as_wide_as_a_label_and_no_wider(seconds, groups):
    assert grouped(seconds, math.log(1.1)) == groups


def test_without_any_distance_every_point_stands_alone():
    assert grouped([1.0, 1.0, 2.0], 0.0) == [[1.0], [1.0], [2.0]]
