"""Finished completions are handed over a few at a time, soon, and whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from timetrial.testing.fake import FakeClock
from timetrial_plugins.engine.decoder import _Ended, _together


def looks(found: list[list[int]], taken: list[int], end: BaseException | None = None) -> Iterator[list[_Ended]]:
    """Yield what each look finds, count the looks in `taken`, and fail after the last one if told to."""
    for tags in found:
        taken.append(len(tags))
        yield [_Ended(tag, [1], "stop", 2) for tag in tags]
    if end is not None:
        raise end


@pytest.mark.parametrize(("step_s", "looks_before_the_first"), [(0.0, 3), (0.03, 3), (0.06, 2), (0.1, 1), (9.0, 1)])
def test_completions_are_handed_over_when_a_tenth_of_a_second_has_gone(
    step_s: float, looks_before_the_first: int
) -> None:
    taken: list[int] = []
    together = _together(looks([[0], [1], [2]], taken), FakeClock(step_s=step_s))
    assert next(together).tag == 0 and len(taken) == looks_before_the_first
    assert [one.tag for one in together] == [1, 2]


@pytest.mark.parametrize("cause", [RuntimeError("steps fail"), KeyboardInterrupt()], ids=repr)
def test_what_is_held_comes_before_an_error(cause: BaseException) -> None:
    together = _together(looks([[0], [1, 2]], [], end=cause), FakeClock(step_s=0.0))
    assert [next(together).tag for _ in range(3)] == [0, 1, 2]
    with pytest.raises(type(cause)):
        next(together)


def test_nothing_is_handed_to_somebody_who_has_left() -> None:
    together = _together(looks([[0], [1, 2]], []), FakeClock(step_s=9.0))
    next(together)
    together.close()
    assert list(together) == []
