"""Powers, roots, logarithms, and the sine and cosine that complex powers are made of."""

from __future__ import annotations

import math
from fractions import Fraction

from mpmath.libmp import (  # type: ignore[import-untyped]  # mpmath has no annotations
    from_rational,
    mpf_abs,
    mpf_atan2,
    mpf_cos_sin,
    mpf_exp,
    mpf_log,
    mpf_nthroot,
    mpf_pi,
    mpf_pow_int,
    mpf_sqrt,
)

from timetrial_plugins.grading.arithmetic import (
    MAX_EXACT_BITS,
    MAX_MAGNITUDE,
    Arithmetic,
    Complex,
    Real,
    Value,
    is_rough,
    joined,
    magnitude,
    negative,
    parts,
    sign,
)
from timetrial_plugins.grading.fuel import OutOfBounds, Undefined
from timetrial_plugins.grading.rational import Rational, Rough, num_bits, rational_root, recognised

MAX_DEGREE = 64
"""Of a root that is taken as one; others are powers."""
MAX_ARGUMENT = 66
"""Arguments of functions lie between 2^-66 and 2^66 (about 10^20) or are zero."""
FUNCTION_COST = 10


def argument(arithmetic: Arithmetic, x: Real) -> Rough:
    """Return the argument of a function, neither so small nor so large that it may not show in the value.

    It is not zero.
    """
    rough = arithmetic.rough(x)
    if abs(magnitude(rough)) > MAX_ARGUMENT:
        raise OutOfBounds("the argument of a function is too large or too small")
    arithmetic.overshadow(2 * min(0, magnitude(rough)))  # what is left of cos x is x^2
    arithmetic.fuel.charge(FUNCTION_COST * arithmetic.precision // 256)
    return rough


def exp(arithmetic: Arithmetic, x: Value) -> Value:
    """Return e^x."""
    if type(x) is Complex:
        size = exp(arithmetic, x.real)
        cos, sin = cos_sin(arithmetic, x.imaginary)
        return joined(arithmetic.multiply(size, cos), arithmetic.multiply(size, sin))
    if x == 0:
        return 1
    rough = argument(arithmetic, x)
    if magnitude(rough) > MAX_MAGNITUDE.bit_length() - 2:
        raise OutOfBounds("a power out of bounds")
    arithmetic.lose(magnitude(rough))
    return arithmetic.settled(mpf_exp(rough, arithmetic.precision, "n"))


def ln(arithmetic: Arithmetic, x: Value) -> Value:
    """Return the natural logarithm, on its principal branch."""
    if x == 0:
        raise Undefined("the logarithm of zero")
    if type(x) is Complex:
        real = ln(arithmetic, arithmetic.norm(x))
        return joined(arithmetic.divide(real, 2), angle(arithmetic, x))
    if x == 1:
        return 0
    arithmetic.fuel.charge(FUNCTION_COST * arithmetic.precision // 256)
    size = arithmetic.after(mpf_log(mpf_abs(arithmetic.rough(x)), arithmetic.precision, "n"), 1)
    return Complex(size, mpf_pi(arithmetic.precision, "n")) if sign(x) < 0 else size


def angle(arithmetic: Arithmetic, number: Value) -> Real:
    """Return the argument of a number that is not zero: the angle of its direction."""
    real, imaginary = parts(number)
    if imaginary == 0:
        return 0 if sign(real) > 0 else mpf_pi(arithmetic.precision, "n")
    y, x = arithmetic.rough(imaginary), arithmetic.rough(real)
    if real != 0:
        arithmetic.overshadow(magnitude(y) - magnitude(x))
    return arithmetic.settled(mpf_atan2(y, x, arithmetic.precision, "n"))


def cos_sin(arithmetic: Arithmetic, x: Real) -> tuple[Real, Real]:
    """Return the cosine and the sine of a real number."""
    if x == 0:
        return 1, 0
    rough = argument(arithmetic, x)
    cos, sin = mpf_cos_sin(rough, arithmetic.precision, "n")
    return arithmetic.after(cos, magnitude(rough)), arithmetic.after(sin, magnitude(rough))


def power(arithmetic: Arithmetic, base: Value, exponent: Value) -> Value:
    """Return base^exponent: of a negative number the real power where there is one, else the principal one."""
    if exponent == 2:
        return arithmetic.multiply(base, base)  # the commonest power, and faster so
    rational = recognised(exponent) if type(exponent) is tuple else None if type(exponent) is Complex else exponent
    if base == 0:
        if rational is None or rational <= 0:
            raise Undefined("zero to a power that is not positive")
        return 0
    if rational is None or rational.denominator > MAX_DEGREE:
        return exp(arithmetic, arithmetic.multiply(exponent, ln(arithmetic, base)))
    if type(rational) is not int:
        base = root(arithmetic, base, rational.denominator)
    return _integer_power(arithmetic, base, rational.numerator)


def _integer_power(arithmetic: Arithmetic, base: Value, exponent: int) -> Value:
    if type(base) is Complex:
        return _complex_power(arithmetic, base, exponent)
    if type(base) is not tuple:
        power = _exact_power(arithmetic, base, exponent)
        if power is not None:
            return power
    width = exponent.bit_length()
    arithmetic.fuel.charge(FUNCTION_COST + width)
    if type(base) is tuple:
        arithmetic.lose(width)
        rough = base
    else:
        arithmetic.has_rounded = True
        rough = from_rational(base.numerator, base.denominator, arithmetic.precision + width, "n")
    if width + abs(magnitude(rough)).bit_length() > MAX_MAGNITUDE.bit_length() - 1:
        raise OutOfBounds("a power out of bounds")
    return arithmetic.settled(mpf_pow_int(rough, exponent, arithmetic.precision, "n"))


def _exact_power(arithmetic: Arithmetic, base: Rational, exponent: int) -> Rational | None:
    """Return the power of a rational number that is not zero, unless it would be too long."""
    if abs(base) == 1:
        return base if exponent % 2 else 1
    if exponent.bit_length() > MAX_EXACT_BITS.bit_length():
        return None
    if abs(exponent) * (math.log2(abs(base.numerator)) + math.log2(base.denominator)) > MAX_EXACT_BITS:
        return None
    return arithmetic.exact(base**exponent if exponent >= 0 else 1 / Fraction(base) ** -exponent)


def _complex_power(arithmetic: Arithmetic, base: Complex, exponent: int) -> Value:
    """Return a power by repeated squaring, exact if the base is."""
    if exponent < 0:
        return arithmetic.divide(1, _complex_power(arithmetic, base, -exponent))
    result: Value = 1
    square: Value = base
    while exponent:
        if exponent & 1:
            result = arithmetic.multiply(result, square)
        exponent >>= 1
        if exponent:
            arithmetic.lose(int(is_rough(square)))
            square = arithmetic.multiply(square, square)
    return result


def root(arithmetic: Arithmetic, radicand: Value, degree: int) -> Value:
    """Return the root of a degree up to 64: of a negative number the real one if there is one, else the principal."""
    if type(radicand) is Complex:
        return exp(arithmetic, arithmetic.divide(ln(arithmetic, radicand), degree))
    if sign(radicand) < 0:
        size = root(arithmetic, negative(radicand), degree)
        if degree % 2:
            return negative(size)
        if degree == 2:
            return Complex(0, size)
        cos, sin = cos_sin(arithmetic, arithmetic.divide(mpf_pi(arithmetic.precision, "n"), degree))
        return joined(arithmetic.multiply(size, cos), arithmetic.multiply(size, sin))
    if type(radicand) is not tuple:
        arithmetic.fuel.charge(num_bits(radicand) ** 2 >> 16)
        exact = rational_root(radicand, degree)
        if exact is not None:
            return exact
    arithmetic.fuel.charge(4)
    rough = arithmetic.rough(radicand)
    if degree == 2:
        return mpf_sqrt(rough, arithmetic.precision, "n")
    return mpf_nthroot(rough, degree, arithmetic.precision, "n")
