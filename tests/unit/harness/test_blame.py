"""Blame: a plugin answers for what its code raises, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from timetrial.blame import blaming_each
from timetrial.error import PluginError, UsageError
from timetrial.spec import Origin

ORIGIN = Origin(plugin="weather", distribution="forecasts", version="1.2")


def numbers(cause: Exception) -> Iterator[int]:
    yield 1
    yield 2
    raise cause


def test_what_an_iterator_raises_is_its_plugins_and_the_items_before_are_kept() -> None:
    taken = []
    with pytest.raises(
        PluginError, match=r"counting of plugin 'weather' \(distribution forecasts 1.2\).*ValueError: 3"
    ):
        for number in blaming_each("counting", ORIGIN, numbers(ValueError("3"))):
            taken.append(number)
    assert taken == [1, 2]


def test_what_is_meant_for_the_user_passes() -> None:
    with pytest.raises(UsageError, match="^no more$"):
        list(blaming_each("counting", ORIGIN, numbers(UsageError("no more"))))


def test_what_is_done_with_an_item_is_not_the_plugins_and_ends_its_iterator() -> None:
    closed = []

    def watched() -> Iterator[int]:
        try:
            yield from numbers(ValueError("3"))
        finally:
            closed.append(True)

    def take() -> None:
        for _ in blaming_each("counting", ORIGIN, watched()):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        take()
    assert closed == [True]
