"""The four operations on numbers that are exact where they are rational, and rough, with a known loss, elsewhere.

Nothing is rounded that a key should see; what could make two different numbers look alike is refused:

    digits         Every step that may lose digits says how many (`lost`). If too few are left, or if the terms of a sum
                   cancel altogether, everything is done again with more digits; only what is zero then too, is zero.
    overshadowing  By how many bits the terms of sums differ in size is added up (`shade`), as 1 + 10^-50 and 1 - 10^-50
                   both show their tiny terms while their product hides them. Too much is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from mpmath.libmp import (  # type: ignore[import-untyped]  # mpmath has no annotations
    from_int,
    from_rational,
    fzero,
    mpf_add,
    mpf_div,
    mpf_mul,
    mpf_neg,
)

from timetrial_plugins.grading.fuel import Fuel, OutOfBounds, Undefined
from timetrial_plugins.grading.rational import Rational, Rough, num_bits, simplified

FAST_BITS = 340
"""The precision of the first try: 102 digits. Beyond about 350 bits libmp's sine takes twice as long."""
CAREFUL_BITS = 800
"""The precision of the second try."""
MAX_EXACT_BITS = 40_000
"""Of the numerator and denominator of an exact number together."""
MAX_MAGNITUDE = 1 << 58
"""Rough numbers stay between 2^-2^58 and 2^2^58 (9^{9^9} is one of them)."""
NEEDED_BITS = 320
"""The 85 digits of a key, 10 bits for the rounding of a few hundred steps, and 27 bits more, so that two ways to
compute a number hardly ever end on different sides of a boundary between keys."""
NOISE_BITS = 30
"""What is smaller than its terms by all bits but these may be nothing but their rounding."""
_MAX_SHADE = 140
"""Half of what 85 digits hold."""
_FREE_SHADE = 16
"""Terms that differ in size by fewer bits are not counted, or no long polynomial would be left."""
_SMALL = 1 << 64

# Any: the kinds are told apart by type(), which is what makes this fast, and which mypy does not follow.
Real = Any  # an int, a Fraction or a Rough; zero is the int, and so is every exact whole number
Value = Any  # a Real or a Complex


class Complex(NamedTuple):
    """A complex number that is not real."""

    real: Real
    imaginary: Real


class Imprecise(OutOfBounds):
    """Too few digits are left."""


class Arithmetic:
    """The operations at one precision, and what they have used up."""

    __slots__ = ("fuel", "has_rounded", "lost", "precision", "shade")

    def __init__(self, precision: int, fuel: Fuel) -> None:
        self.precision = precision
        self.fuel = fuel
        self.has_rounded = False
        """Whether an exact number was made rough."""
        self.lost = 0
        self.shade = 0

    def exact(self, number: Rational) -> Rational:
        """Pass an exact number that is not too long."""
        if type(number) is int and -_SMALL < number < _SMALL:
            return number
        size = num_bits(number)
        if size > MAX_EXACT_BITS:
            raise OutOfBounds("an exact number of too many digits")
        self.fuel.charge(1 + (size * size >> 20))
        return simplified(number)

    def rough(self, number: Real) -> Rough:
        """Return a number rounded to the precision."""
        if type(number) is tuple:
            return number
        self.has_rounded = True
        rounded: Rough = (
            from_int(number, self.precision, "n")
            if type(number) is int
            else from_rational(number.numerator, number.denominator, self.precision, "n")
        )
        return rounded

    def settled(self, number: Rough) -> Real:
        """Pass a rough number that is finite and within bounds."""
        if not number[1]:
            if number != fzero:
                raise Undefined("not finite")
            return 0
        if not -MAX_MAGNITUDE < number[2] + number[3] < MAX_MAGNITUDE:
            raise OutOfBounds("a number out of bounds")
        return number

    def lose(self, bits: int) -> None:
        """Note that a step may lose so many bits of its result.

        Raises:
            Imprecise: too few are left.
        """
        if bits > 0:
            self.lost += bits
            if self.lost > self.precision - NEEDED_BITS:
                raise Imprecise("a value whose digits cancel")

    def overshadow(self, bits: int) -> None:
        """Note that part of a step shows only so many bits behind the first one of its result."""
        if abs(bits) > _FREE_SHADE:
            self.shade += abs(bits) - _FREE_SHADE

    def check_shade(self) -> None:
        """Refuse a rough result in which too much may not show."""
        if self.shade > _MAX_SHADE:
            raise OutOfBounds("a sum of numbers of very different size")

    def after(self, number: Rough, scale: int) -> Real:
        """Pass the result of a step whose absolute error is that of a number of the magnitude `scale`."""
        fall = scale - number[2] - number[3]
        if not number[1] or fall > self.precision - NOISE_BITS - self.lost:
            return self.vanished()
        if fall > 2:
            self.lose(fall)
        return self.settled(number)

    def vanished(self) -> int:
        """Return zero for what has no digits left, if it has none at the higher precision either."""
        if self.precision < CAREFUL_BITS:
            raise Imprecise("a value whose digits cancel")
        return 0

    def add(self, a: Value, b: Value) -> Value:
        """Return a + b."""
        return self.total((a, b))

    def total(self, terms: Sequence[Value]) -> Value:
        """Return the sum of all terms."""
        total: Real = 0
        largest, smallest = -MAX_MAGNITUDE, MAX_MAGNITUDE
        for term in terms:
            if type(term) is Complex:
                pairs = [parts(each) for each in terms]
                return joined(*(self.total([pair[index] for pair in pairs]) for index in (0, 1)))
            if term == 0:
                continue
            size = _size(term)
            largest, smallest = max(largest, size), min(smallest, size)
            total = self._plus(total, term) if total != 0 else term
        if largest - smallest > _FREE_SHADE:
            self.overshadow(largest - smallest)
            if type(total) is tuple:
                self.check_shade()
        return total

    def _plus(self, a: Real, b: Real) -> Real:
        if type(a) is not tuple and type(b) is not tuple:
            return self.exact(a + b)
        self.fuel.charge(1)
        x, y = self.rough(a), self.rough(b)
        return self.after(mpf_add(x, y, self.precision, "n"), max(x[2] + x[3], y[2] + y[3]))

    def multiply(self, a: Value, b: Value) -> Value:
        """Return a * b."""
        if type(a) is Complex or type(b) is Complex:
            (p, q), (r, s) = parts(a), parts(b)
            real = self.add(self.multiply(p, r), negative(self.multiply(q, s)))
            return joined(real, self.add(self.multiply(p, s), self.multiply(q, r)))
        if type(a) is not tuple and type(b) is not tuple:
            return self.exact(a * b)
        if a == 0 or b == 0:
            return 0
        self.fuel.charge(1)
        return self.settled(mpf_mul(self.rough(a), self.rough(b), self.precision, "n"))

    def divide(self, a: Value, b: Value) -> Value:
        """Return a / b.

        Raises:
            Undefined: b is zero.
        """
        if b == 0:
            raise Undefined("division by zero")
        if type(b) is Complex:
            return self.divide(self.multiply(a, Complex(b.real, negative(b.imaginary))), self.norm(b))
        if type(a) is Complex:
            return joined(self.divide(a.real, b), self.divide(a.imaginary, b))
        if type(a) is not tuple and type(b) is not tuple:
            return self.exact(Fraction(a, b))
        if a == 0:
            return 0
        self.fuel.charge(1)
        return self.settled(mpf_div(self.rough(a), self.rough(b), self.precision, "n"))

    def norm(self, a: Complex) -> Real:
        """Return the square of the absolute value."""
        return self.add(self.multiply(a.real, a.real), self.multiply(a.imaginary, a.imaginary))


def parts(a: Value) -> Complex:
    """Return the real and the imaginary part."""
    return a if type(a) is Complex else Complex(a, 0)


def is_rough(a: Value) -> bool:
    """Whether a number is not exact."""
    return type(a) is tuple or type(a) is Complex and (type(a.real) is tuple or type(a.imaginary) is tuple)


def joined(real: Real, imaginary: Real) -> Value:
    """Return the number with these parts."""
    return real if imaginary == 0 else Complex(real, imaginary)


def negative(a: Value) -> Value:
    """Return -a."""
    if type(a) is tuple:
        return mpf_neg(a)
    return Complex(negative(a.real), negative(a.imaginary)) if type(a) is Complex else -a


def sign(a: Real) -> int:
    """Return -1, 0 or 1."""
    if type(a) is tuple:
        return -1 if a[0] else 1
    return int(a > 0) - int(a < 0)


def _size(a: Real) -> int:
    """Return about the magnitude of a number."""
    return magnitude(a) if type(a) is tuple else a.numerator.bit_length() - a.denominator.bit_length() + 1


def magnitude(a: Rough) -> int:
    """Return the exponent of the first power of two that is greater than the absolute value."""
    return a[2] + a[3]
