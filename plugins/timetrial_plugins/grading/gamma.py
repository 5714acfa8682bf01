"""The gamma function of real numbers, by Stirling's series.

Reference: NIST Digital Library of Mathematical Functions, 5.11.1 (the series) and 24.15.4 (Bernoulli numbers from
tangent numbers). mpmath has a gamma function too, but keeps its Bernoulli numbers in a cache that threads corrupt.
"""

from __future__ import annotations

from functools import lru_cache

from mpmath.libmp import (  # type: ignore[import-untyped]  # mpmath has no annotations
    fone,
    from_rational,
    mpf_add,
    mpf_div,
    mpf_exp,
    mpf_log,
    mpf_mul,
    mpf_pi,
    mpf_shift,
    mpf_sub,
)

from timetrial_plugins.grading.arithmetic import Arithmetic, Real, magnitude
from timetrial_plugins.grading.fuel import OutOfBounds, Undefined
from timetrial_plugins.grading.rational import Rough

_GUARD_BITS = 40
_MAX_MAGNITUDE = 50
"""Arguments stay below 2^50, so that the values stay below 2^2^58."""
_MIN_ARGUMENT = -10_000


def gamma(arithmetic: Arithmetic, x: Real) -> Real:
    """Return the gamma function of a real number.

    Raises:
        Undefined: x is a pole: zero or a negative whole number.
    """
    if type(x) is int and x <= 0:
        raise Undefined("the gamma function of zero or a negative whole number")
    rough = arithmetic.rough(x)
    if magnitude(rough) > _MAX_MAGNITUDE or rough[0] and magnitude(rough) > 13:
        raise OutOfBounds("a factorial out of bounds")
    # The slope of its logarithm is about the logarithm of x: the error of x times x ln(x), so many bits more.
    width = max(0, magnitude(rough))
    arithmetic.lose(width + width.bit_length() if type(x) is not int else 0)
    return arithmetic.settled(_gamma(arithmetic, rough, arithmetic.precision + width + _GUARD_BITS))


def _gamma(arithmetic: Arithmetic, x: Rough, precision: int) -> Rough:
    """Raise x until the series converges, and divide by what was passed: gamma(x) = gamma(x + n) / (x ... (x+n-1))."""
    num_terms = precision // 5
    arithmetic.fuel.charge(6 * num_terms)
    passed, scale = fone, magnitude(x)
    while x[0] or magnitude(x) <= num_terms.bit_length():
        arithmetic.fuel.charge(2)
        if arithmetic.after(x, scale) == 0:
            raise Undefined("the gamma function of zero or a negative whole number")
        passed = mpf_mul(passed, x, precision, "n")
        x = mpf_add(x, fone, precision, "n")
    value = mpf_exp(_stirling(x, num_terms, precision), precision, "n")
    quotient: Rough = mpf_div(value, passed, arithmetic.precision, "n")
    return quotient


def _stirling(x: Rough, num_terms: int, precision: int) -> Rough:
    """Return ln(gamma(x)) = (x - 1/2) ln(x) - x + ln(2 pi)/2 + sum of B_2k / (2k (2k - 1) x^(2k - 1)), for large x."""
    half_log = mpf_shift(mpf_log(mpf_shift(mpf_pi(precision), 1), precision, "n"), -1)
    logarithm = mpf_mul(mpf_sub(x, mpf_shift(fone, -1), precision, "n"), mpf_log(x, precision, "n"), precision, "n")
    total = mpf_add(mpf_sub(logarithm, x, precision, "n"), half_log, precision, "n")
    inverse = mpf_div(fone, x, precision, "n")
    square = mpf_mul(inverse, inverse, precision, "n")
    power = inverse
    for numerator, denominator in _coefficients(num_terms):
        term = mpf_mul(power, from_rational(numerator, denominator, precision, "n"), precision, "n")
        if magnitude(term) < -precision:
            break
        total = mpf_add(total, term, precision, "n")
        power = mpf_mul(power, square, precision, "n")
    rounded: Rough = total
    return rounded


@lru_cache(maxsize=4)
def _coefficients(num_terms: int) -> tuple[tuple[int, int], ...]:
    """Return B_2k / (2k (2k - 1)) as numerators and denominators, for k = 1, 2, ..."""
    tangents = [0, 1] + [0] * num_terms
    for k in range(2, num_terms + 1):
        tangents[k] = (k - 1) * tangents[k - 1]
    for k in range(2, num_terms + 1):
        for j in range(k, num_terms + 1):
            tangents[j] = (j - k) * tangents[j - 1] + (j - k + 2) * tangents[j]
    return tuple(((-1) ** (k - 1) * tangents[k], (2 * k - 1) * 4**k * (4**k - 1)) for k in range(1, num_terms + 1))
