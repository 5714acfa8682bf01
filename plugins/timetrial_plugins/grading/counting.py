"""The functions that round, divide with a remainder and count: floor, mod, gcd, factorials, binomial coefficients."""

from __future__ import annotations

import math
from functools import reduce

from mpmath.libmp import mpf_nint, mpf_sub, to_int  # type: ignore[import-untyped]  # mpmath has no annotations

from timetrial_plugins.grading.arithmetic import (
    MAX_EXACT_BITS,
    NOISE_BITS,
    Arithmetic,
    Complex,
    Real,
    Value,
    magnitude,
    negative,
    sign,
)
from timetrial_plugins.grading.exponential import power
from timetrial_plugins.grading.fuel import OutOfBounds, Undefined
from timetrial_plugins.grading.gamma import gamma
from timetrial_plugins.grading.rational import recognised

MAX_FALLING = 200
"""Factors of a binomial coefficient that are multiplied one by one."""


def real(x: Value) -> Real:
    """Pass a real number.

    Raises:
        Undefined: it is complex.
    """
    if type(x) is Complex:
        raise Undefined("a complex number where a real one is needed")
    return x


def whole_number(x: Value) -> int | None:
    """Return the whole number a number is, or None."""
    rational = recognised(x) if type(x) is tuple else x
    return rational if type(rational) is int else None


def whole(x: Value) -> int:
    """Pass a whole number.

    Raises:
        Undefined: it is not whole.
    """
    number = whole_number(x)
    if number is None:
        raise Undefined("a number that is not whole where a whole one is needed")
    return number


def floor(arithmetic: Arithmetic, x: Value) -> int:
    """Return the greatest whole number that is not above x."""
    x = real(x)
    if type(x) is not tuple:
        return int(math.floor(x))
    if magnitude(x) > arithmetic.precision - NOISE_BITS:
        raise OutOfBounds("the whole part of a number out of bounds")
    nearest = mpf_nint(x, arithmetic.precision, "n")
    gap = arithmetic.after(mpf_sub(x, nearest, arithmetic.precision, "n"), magnitude(x))
    return int(to_int(nearest)) - (sign(gap) < 0)


def ceil(arithmetic: Arithmetic, x: Value) -> int:
    """Return the least whole number that is not below x."""
    return -floor(arithmetic, negative(x))


def mod(arithmetic: Arithmetic, x: Value, modulus: Value) -> Value:
    """Return what is left of x: between zero and the modulus."""
    times = floor(arithmetic, arithmetic.divide(x, modulus))
    return arithmetic.add(x, negative(arithmetic.multiply(modulus, times)))


def greatest(arithmetic: Arithmetic, *values: Value) -> Value:
    """Return the greatest of real numbers."""
    return reduce(lambda a, b: a if sign(arithmetic.add(a, negative(b))) >= 0 else b, map(real, values))


def least(arithmetic: Arithmetic, *values: Value) -> Value:
    """Return the least of real numbers."""
    return negative(greatest(arithmetic, *map(negative, values)))


def gcd(arithmetic: Arithmetic, *values: Value) -> Value:
    """Return the greatest common divisor of whole numbers."""
    divisor = 0
    for value in values:
        divisor = math.gcd(divisor, whole(value))
    return divisor


def lcm(arithmetic: Arithmetic, *values: Value) -> Value:
    """Return the least common multiple of whole numbers."""
    multiple = 1
    for value in values:
        multiple = math.lcm(multiple, whole(value))
        arithmetic.exact(multiple)
    return multiple


def factorial(arithmetic: Arithmetic, x: Value) -> Value:
    """Return x!, by the gamma function if x is not whole or too large."""
    number = whole_number(real(x))
    if number is None or number < 0 or _log_factorial(number) > MAX_EXACT_BITS:
        return gamma(arithmetic, arithmetic.add(x if number is None else number, 1))
    return arithmetic.exact(math.factorial(number))


def double_factorial(arithmetic: Arithmetic, x: Value) -> Value:
    """Return x!! = x (x - 2) (x - 4) ... of a whole number."""
    number = whole(x)
    if number < 0:
        raise Undefined("the double factorial of a negative number")
    half = number // 2
    even = arithmetic.multiply(power(arithmetic, 2, half), factorial(arithmetic, half))
    return arithmetic.divide(factorial(arithmetic, number), even) if number % 2 else even


def binomial(arithmetic: Arithmetic, n: Value, k: Value) -> Value:
    """Return n over k, by the gamma function if k is not whole or n is too large."""
    top, bottom = whole_number(real(n)), whole_number(real(k))
    if bottom is None:
        return _quotient(arithmetic, n, k)
    if bottom < 0 or top is not None and 0 <= top < bottom:
        return 0
    if top is None or top < 0:
        return _falling_binomial(arithmetic, n, bottom)
    size = _log_factorial(top) - _log_factorial(bottom) - _log_factorial(top - bottom)
    if not size <= MAX_EXACT_BITS:  # it may be no number at all
        return _quotient(arithmetic, top, bottom)
    arithmetic.fuel.charge(int(size) * min(bottom, top - bottom) >> 14)
    return arithmetic.exact(math.comb(top, bottom))


def _quotient(arithmetic: Arithmetic, n: Value, k: Value) -> Value:
    rest = arithmetic.add(n, negative(k))
    factorials = [factorial(arithmetic, x) for x in (n, k, rest)]
    return arithmetic.divide(factorials[0], arithmetic.multiply(factorials[1], factorials[2]))


def _falling_binomial(arithmetic: Arithmetic, n: Value, k: int) -> Value:
    if k > MAX_FALLING:
        raise OutOfBounds("a binomial coefficient out of bounds")
    factors = (arithmetic.divide(arithmetic.add(n, -i), i + 1) for i in range(k))
    return reduce(arithmetic.multiply, factors, 1)


def _log_factorial(n: int) -> float:
    """Return about the logarithm of n! to base 2."""
    return math.lgamma(n + 1) / math.log(2) if n < 1 << 60 else math.inf
