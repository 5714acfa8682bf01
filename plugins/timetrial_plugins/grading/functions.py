"""The functions of formulas by name. Most are put together from exponentials, logarithms and roots, as they are
defined, so that the arithmetic sees to complex numbers, lost digits and swallowed terms.
"""

from __future__ import annotations

from collections.abc import Callable

from mpmath.libmp import mpf_pi, mpf_shift  # type: ignore[import-untyped]  # mpmath has no annotations

from timetrial_plugins.grading import counting
from timetrial_plugins.grading.arithmetic import Arithmetic, Complex, Value, joined, negative, parts, sign
from timetrial_plugins.grading.exponential import MAX_DEGREE, angle, cos_sin, exp, ln, power, root
from timetrial_plugins.grading.fuel import Undefined

Function = Callable[..., Value]
"""Takes an Arithmetic and the arguments."""

_I = Complex(0, 1)


def _circle(arithmetic: Arithmetic, x: Value) -> tuple[Value, Value]:
    """Return the cosine and the sine of any number."""
    if type(x) is not Complex:
        return cos_sin(arithmetic, x)
    turned = arithmetic.multiply(_I, x)
    return _cosh(arithmetic, turned), arithmetic.divide(_sinh(arithmetic, turned), _I)


def _cos(arithmetic: Arithmetic, x: Value) -> Value:
    return _circle(arithmetic, x)[0]


def _sin(arithmetic: Arithmetic, x: Value) -> Value:
    return _circle(arithmetic, x)[1]


def _tan(arithmetic: Arithmetic, x: Value) -> Value:
    cos, sin = _circle(arithmetic, x)
    return arithmetic.divide(sin, cos)


def _cot(arithmetic: Arithmetic, x: Value) -> Value:
    cos, sin = _circle(arithmetic, x)
    return arithmetic.divide(cos, sin)


def _cosh(arithmetic: Arithmetic, x: Value) -> Value:
    return arithmetic.divide(arithmetic.add(exp(arithmetic, x), exp(arithmetic, negative(x))), 2)


def _sinh(arithmetic: Arithmetic, x: Value) -> Value:
    return arithmetic.divide(arithmetic.add(exp(arithmetic, x), negative(exp(arithmetic, negative(x)))), 2)


def _tanh(arithmetic: Arithmetic, x: Value) -> Value:
    square = exp(arithmetic, arithmetic.multiply(2, x))
    return arithmetic.divide(arithmetic.add(square, -1), arithmetic.add(square, 1))


def _other_leg(arithmetic: Arithmetic, x: Value) -> Value:
    """Return sqrt(1 - x^2)."""
    return root(arithmetic, arithmetic.add(1, negative(arithmetic.multiply(x, x))), 2)


def _asin(arithmetic: Arithmetic, x: Value) -> Value:
    cos = _other_leg(arithmetic, x)
    if type(x) is not Complex and type(cos) is not Complex:
        return angle(arithmetic, joined(cos, x))
    return arithmetic.divide(ln(arithmetic, arithmetic.add(arithmetic.multiply(_I, x), cos)), _I)


def _acos(arithmetic: Arithmetic, x: Value) -> Value:
    sin = _other_leg(arithmetic, x)
    if type(x) is not Complex and type(sin) is not Complex:
        return angle(arithmetic, joined(x, sin))
    right_angle = mpf_shift(mpf_pi(arithmetic.precision, "n"), -1)
    return arithmetic.add(right_angle, negative(_asin(arithmetic, x)))


def _atan(arithmetic: Arithmetic, x: Value) -> Value:
    if type(x) is not Complex:
        return angle(arithmetic, joined(1, x))
    return arithmetic.divide(_atanh(arithmetic, arithmetic.multiply(_I, x)), _I)


def _acot(arithmetic: Arithmetic, x: Value) -> Value:
    if type(x) is Complex or sign(x) < 0:
        raise Undefined("acot of a negative number, for which there are two conventions")
    return angle(arithmetic, joined(x, 1))


def _asinh(arithmetic: Arithmetic, x: Value) -> Value:
    size = root(arithmetic, arithmetic.add(arithmetic.multiply(x, x), 1), 2)
    return ln(arithmetic, arithmetic.add(x, size))


def _acosh(arithmetic: Arithmetic, x: Value) -> Value:
    factors = (root(arithmetic, arithmetic.add(x, step), 2) for step in (-1, 1))
    return ln(arithmetic, arithmetic.add(x, arithmetic.multiply(*factors)))


def _atanh(arithmetic: Arithmetic, x: Value) -> Value:
    above, below = (ln(arithmetic, arithmetic.add(1, y)) for y in (x, negative(x)))
    return arithmetic.divide(arithmetic.add(above, negative(below)), 2)


def _one_over(function: Function) -> Function:
    """Return 1 / f(x)."""
    return lambda arithmetic, x: arithmetic.divide(1, function(arithmetic, x))


def _of_one_over(function: Function) -> Function:
    """Return f(1 / x)."""
    return lambda arithmetic, x: function(arithmetic, arithmetic.divide(1, x))


def _log(arithmetic: Arithmetic, x: Value, base: Value = 10) -> Value:
    return arithmetic.divide(ln(arithmetic, x), ln(arithmetic, base))


def _sqrt(arithmetic: Arithmetic, radicand: Value, index: Value) -> Value:
    if type(index) is int and 0 < index <= MAX_DEGREE:
        return root(arithmetic, radicand, index)
    return power(arithmetic, radicand, arithmetic.divide(1, index))


def _abs(arithmetic: Arithmetic, x: Value) -> Value:
    if type(x) is Complex:
        return root(arithmetic, arithmetic.norm(x), 2)
    return negative(x) if sign(x) < 0 else x


def _arg(arithmetic: Arithmetic, x: Value) -> Value:
    if x == 0:
        raise Undefined("the direction of zero")
    return angle(arithmetic, x)


FUNCTIONS: dict[str, Function] = {
    "cos": _cos,
    "sin": _sin,
    "tan": _tan,
    "cot": _cot,
    "sec": _one_over(_cos),
    "csc": _one_over(_sin),
    "cosh": _cosh,
    "sinh": _sinh,
    "tanh": _tanh,
    "coth": _one_over(_tanh),
    "sech": _one_over(_cosh),
    "csch": _one_over(_sinh),
    "acos": _acos,
    "asin": _asin,
    "atan": _atan,
    "acot": _acot,
    "asec": _of_one_over(_acos),
    "acsc": _of_one_over(_asin),
    "acosh": _acosh,
    "asinh": _asinh,
    "atanh": _atanh,
    "acoth": _of_one_over(_atanh),
    "asech": _of_one_over(_acosh),
    "acsch": _of_one_over(_asinh),
    "exp": exp,
    "ln": ln,
    "log": _log,
    "sqrt": _sqrt,
    "abs": _abs,
    "sign": lambda arithmetic, x: sign(counting.real(x)),
    "arg": _arg,
    "Re": lambda arithmetic, x: parts(x).real,
    "Im": lambda arithmetic, x: parts(x).imaginary,
    "conj": lambda arithmetic, x: joined(parts(x).real, negative(parts(x).imaginary)),
    "floor": counting.floor,
    "ceil": counting.ceil,
    "mod": counting.mod,
    "max": counting.greatest,
    "min": counting.least,
    "gcd": counting.gcd,
    "lcm": counting.lcm,
    "factorial": counting.factorial,
    "factorial2": counting.double_factorial,
    "binom": counting.binomial,
}
