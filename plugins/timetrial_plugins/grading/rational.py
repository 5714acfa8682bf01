"""Exact rational numbers: their size, their roots, and recognising one by its digits."""

from __future__ import annotations

import math
from fractions import Fraction

Rational = int | Fraction
"""A whole number is an int wherever one is made here."""
Rough = tuple[int, int, int, int]
"""A binary number as mpmath's libmp holds it: sign, mantissa, exponent and bits of the mantissa."""

_DENOMINATOR_BITS = 20
"""Of rational numbers that are recognised: denominators up to a million."""
_WIDTH = 2 * _DENOMINATOR_BITS + 6
_AGREEING_BITS = 275
"""A rough number is a rational one if they agree in so many bits."""
_MAX_STRIPPED_BITS = 4_000
_POWERS_OF_5 = tuple(5**k for k in (128, 32, 8, 2, 1))


def simplified(number: Rational) -> Rational:
    """Return an int for a whole number."""
    return number.numerator if number.denominator == 1 else number


def num_bits(number: Rational) -> int:
    """Return the bits of the numerator and the denominator together."""
    return number.numerator.bit_length() + number.denominator.bit_length()


def information(number: Rational) -> int:
    """Return about how many bits somebody chose to write this number: 10^50 takes few, 10^50 + 1 takes all."""
    if type(number) is int and number.bit_length() <= 64:
        return number.bit_length()
    return _information(number.numerator) + _information(number.denominator) - 1


def _information(number: int) -> int:
    number = abs(number)
    if 64 < number.bit_length() <= _MAX_STRIPPED_BITS:
        number >>= (number & -number).bit_length() - 1
        for power in _POWERS_OF_5:
            while number % power == 0:
                number //= power
    return number.bit_length()


def rational_root(value: Rational, degree: int) -> Rational | None:
    """Return the rational root of a rational number that is not negative, or None if the root is irrational."""
    numerator = _integer_root(value.numerator, degree)
    denominator = _integer_root(value.denominator, degree) if numerator is not None else None
    if numerator is None or denominator is None:
        return None
    return numerator if denominator == 1 else Fraction(numerator, denominator)


def _integer_root(value: int, degree: int) -> int | None:
    if value < 2 or degree == 1:
        return value
    if degree == 2:
        root = math.isqrt(value)
    else:
        root = 1 << -(-value.bit_length() // degree)  # not below the root; Newton's steps fall towards it
        while (step := ((degree - 1) * root + value // root ** (degree - 1)) // degree) < root:
            root = step
    return root if root**degree == value else None


def recognised(number: Rough) -> Rational | None:
    """Return the rational number that a rough number is, as far as its digits tell; None if it seems irrational.

    The numerator may have 200 bits, the denominator 20. It is a convergent of the number's continued fraction, of which
    the leading bits are enough to find it.
    """
    sign, mantissa, exponent, bits = number
    magnitude = bits + exponent
    if not -_DENOMINATOR_BITS < magnitude < 200:
        return 0 if mantissa == 0 else None
    mantissa = int(mantissa)  # it may be of another library's type
    if exponent >= 0:
        return -(mantissa << exponent) if sign else mantissa << exponent
    shift = -exponent
    whole = mantissa >> shift
    fraction = mantissa - (whole << shift)
    found = _convergent(fraction >> (shift - _WIDTH) if shift > _WIDTH else fraction << (_WIDTH - shift))
    if found is None:
        return None
    numerator, denominator = found
    numerator += whole * denominator
    difference = abs(mantissa * denominator - (numerator << shift))
    if difference and difference.bit_length() > shift + denominator.bit_length() + magnitude - _AGREEING_BITS:
        return None
    numerator = -numerator if sign else numerator
    return numerator if denominator == 1 else Fraction(numerator, denominator)


def _convergent(leading: int) -> tuple[int, int] | None:
    """Return p and q with p/q near leading / 2^width, if q has no more bits than are allowed."""
    above, below = 1 << _WIDTH, leading
    limit, negligible = 1 << _DENOMINATOR_BITS, 1 << (_DENOMINATOR_BITS + 1)
    before_p, p, before_q, q = 1, 0, 0, 1
    while below > negligible:
        quotient, rest = divmod(above, below)
        above, below = below, rest
        before_p, p = p, quotient * p + before_p
        before_q, q = q, quotient * q + before_q
        if q > limit:
            return None
    return p, q
