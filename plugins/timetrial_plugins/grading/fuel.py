"""What evaluating a formula may cost, counted and not timed, so that the outcome never depends on the machine."""

from __future__ import annotations

FUEL = 20_000
"""For one formula. A unit is about a microsecond."""


class Undefined(Exception):
    """The formula has no value here, or none that may be computed; the text says why."""


class OutOfBounds(Undefined):
    """The formula has a value, which the bounds on sizes, digits and work cannot hold."""


class Fuel:
    """What is left to spend on one formula."""

    __slots__ = ("left",)

    def __init__(self, units: int = FUEL) -> None:
        self.left = units

    def charge(self, units: int) -> None:
        """Pay for a step before it is taken.

        Raises:
            OutOfBounds: there is not enough left.
        """
        self.left -= units
        if self.left < 0:
            raise OutOfBounds("a formula that takes too long to evaluate")
