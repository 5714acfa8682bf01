"""Evaluate a formula, bounded in time and memory before anything is computed.

Rational operations are exact. The rest is done with 60 digits and compared on 40; whatever could make two different
values look alike at that precision (a sum that swallows one of its terms) is refused instead of rounded.
Names stand for fixed, unremarkable rationals, so that a formula with names becomes a number too;
at one probe point they are negative.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath  # type: ignore[import-untyped]  # it has no annotations

from timetrial_plugins.grading.expression import Node

Value = Any  # Fraction, or an mpf or mpc of the context below: mpmath has no type annotations

WORKING_DIGITS = 60
KEY_DIGITS = 40
NUM_PROBES = 3
NEGATIVE_PROBE = 2
"""The last probe point, where names are negative: it tells |x| from x."""
MAX_EXACT_BITS = 1_400
"""Exact numbers stay below 400 decimal digits."""
MAX_EXPONENT_BITS = 58
"""Approximate numbers stay below 2 ** 2 ** 58 (9^{9^9} is one of them)."""
MAX_EXACT_FACTORIAL = 170
MAX_DENOMINATOR = 10**8
"""A computed value closer than 1e-40 to a fraction with such a denominator is that fraction."""


class Undefined(Exception):
    """The formula has no value here, or none that may be computed; the text says why."""


class OutOfBounds(Undefined):
    """The formula has a value, which 60 digits or the bounds on sizes cannot hold."""


class _Contexts(threading.local):
    """One mpmath context a thread: contexts change their precision while they work."""

    def __init__(self) -> None:
        self.context = mpmath.MPContext()
        self.context.dps = WORKING_DIGITS


_CONTEXTS = _Contexts()


def evaluate(node: Node, probe: int, sign: int = 1) -> Value:
    """Return the value of a formula at a probe point (0, 1, ...), with `sign` for its plus-minus.

    Raises:
        Undefined: division by zero, a number out of bounds, or something that has no number.
    """
    return _Evaluation(_CONTEXTS.context, probe, sign).value(node)


def exact(value: Value) -> Fraction | None:
    """Return the rational number a value is, or None if it is irrational or complex."""
    if isinstance(value, Fraction):
        return value
    if hasattr(value, "imag") and value.imag != 0:
        return None
    real = value.real
    context = _CONTEXTS.context
    if real == 0:
        return Fraction(0)
    if not -60 < context.mag(real) < 100:
        return None
    sign, mantissa, exponent, _ = real._mpf_
    number = Fraction(int(mantissa) * (-1) ** sign) * Fraction(2) ** int(exponent)
    near = number.limit_denominator(MAX_DENOMINATOR)
    return near if abs(near - number) <= abs(number) / 10**KEY_DIGITS else None


def digits(value: Value) -> str:
    """Return a value to 40 significant digits, the same text for the same number however it was computed."""
    context = _CONTEXTS.context
    if isinstance(value, Fraction):
        value = _approximate(context, value)
    real, imaginary = value.real, value.imag
    largest = max(abs(real), abs(imaginary))
    parts = [context.mpf(0) if abs(part) < largest * _TINY else part for part in (real, imaginary)]
    texts = [context.nstr(part, KEY_DIGITS, min_fixed=1, max_fixed=0, strip_zeros=True) for part in parts]
    return texts[0] if texts[1] in ("0", "0.0", "0.0e+0") else f"{texts[0]}+{texts[1]}i"


_TINY = Fraction(1, 10**45).numerator / 10**45  # relative size of what rounding leaves of an exact zero
_LOSSY = 1e-20  # a smaller relative term of a sum is refused


@lru_cache(maxsize=4_096)
def probe_value(name: str, probe: int) -> Fraction:
    """Return the number a name stands for: between 1.2 and 2.5 so that powers stay small; negative at probe 2."""
    seed = hashlib.blake2b(f"{probe}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    size = Fraction(10_007 + int.from_bytes(seed, "big") % 10_007, 8_191)
    return -size if probe == NEGATIVE_PROBE else size


def _approximate(context: Any, value: Value) -> Value:  # Any: mpmath has no annotations
    if not isinstance(value, Fraction):
        return value
    return context.mpf(value.numerator) / value.denominator


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


class _Evaluation:
    """One pass over one tree at one probe point."""

    def __init__(self, context: Any, probe: int, sign: int) -> None:  # Any: mpmath has no annotations
        self.context = context
        self.probe = probe
        self.sign = sign

    def value(self, node: Node) -> Value:
        tag = node[0]
        if tag == "number":
            return self.checked(node[1])
        if tag == "name":
            return probe_value(node[1], self.probe)
        if tag == "constant":
            return {"pi": +self.context.pi, "e": +self.context.e, "i": self.context.mpc(0, 1)}[node[1]]
        if tag == "call":
            return self.call(node[1], [self.value(argument) for argument in node[2:]])
        if tag not in _OPERATIONS:
            raise Undefined("infinity in a formula" if tag == "infinity" else f"{tag} has no value")
        return _OPERATIONS[tag](self, *(self.value(operand) for operand in node[1:]))

    def checked(self, value: Value) -> Value:
        """Pass a value that is within bounds."""
        if isinstance(value, Fraction):
            if _bits(value) > MAX_EXACT_BITS:
                raise OutOfBounds("an exact number of more than 400 digits")
            return value
        if not self.context.isfinite(value):
            raise Undefined("not finite")
        if value != 0 and abs(self.context.mag(value)).bit_length() > MAX_EXPONENT_BITS:
            raise OutOfBounds("a number out of bounds")
        if value.imag != 0:
            # What rounding leaves of a part that is exactly zero.
            real, imaginary = abs(value.real), abs(value.imag)
            if imaginary < real * _TINY:
                return value.real
            if real < imaginary * _TINY:
                return self.context.mpc(0, value.imag)
        return value

    def inexact(self, value: Value) -> Value:
        """Turn an exact number into one of 60 digits, unless digits would be lost that the key should see."""
        if isinstance(value, Fraction) and _bits(value) > 110:
            raise OutOfBounds("a long exact number inside an irrational formula")
        return _approximate(self.context, value)

    def add(self, a: Value, b: Value) -> Value:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return self.checked(a + b)
        a, b = self.inexact(a), self.inexact(b)
        small, large = sorted((abs(a), abs(b)))
        if small and small < large * _LOSSY:
            raise OutOfBounds("a sum of numbers of very different size")
        total = a + b
        return self.context.mpf(0) if abs(total) < large * _TINY else total

    def multiply(self, a: Value, b: Value) -> Value:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return self.checked(a * b)
        return self.checked(self.inexact(a) * self.inexact(b))

    def divide(self, a: Value, b: Value) -> Value:
        if b == 0:
            raise Undefined("division by zero")
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return self.checked(a / b)
        return self.checked(self.inexact(a) / self.inexact(b))

    def power(self, base: Value, exponent: Value) -> Value:
        rational = exact(exponent)
        exponent = exponent if rational is None else rational
        if base == 0:
            if rational is None or rational <= 0:
                raise Undefined("zero to a power that is not positive")
            return Fraction(0)
        if rational is not None and isinstance(base, Fraction):
            power = self.exact_power(base, rational)
            if power is not None:
                return power
            if base < 0 and rational.denominator % 2 == 1 and rational.denominator > 1:
                # The real root, as it is meant in school mathematics.
                size = self.power(-base, rational)
                return -size if rational.numerator % 2 else size
        return self.inexact_power(self.inexact(base), exponent)

    def exact_power(self, base: Fraction, exponent: Fraction) -> Fraction | None:
        """Return a rational power that is rational and small enough, else None."""
        if abs(base) == 1 and exponent.denominator == 1:
            return base if exponent.numerator % 2 else Fraction(1)
        if _bits(base) * abs(exponent.numerator) > MAX_EXACT_BITS or exponent.denominator > 64:
            return None
        if exponent.denominator == 1:
            return Fraction(base**exponent.numerator)
        root = _exact_root(base, exponent.denominator)
        return None if root is None else Fraction(root**exponent.numerator)

    def inexact_power(self, base: Value, exponent: Value) -> Value:
        size = abs(self.context.log(base))
        number = self.inexact(exponent)
        if abs(number) * size > 2**MAX_EXPONENT_BITS or abs(number) > 10**20:
            raise OutOfBounds("a power out of bounds")
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            # Digits of the exponent are digits lost in the result.
            with self.context.workdps(WORKING_DIGITS + len(str(abs(exponent.numerator)))):
                return self.checked(base**exponent.numerator)
        return self.checked(base**number)

    def call(self, name: str, arguments: list[Value]) -> Value:
        if name.startswith("applied "):
            return self.applied(name, arguments)
        if name == "sqrt":
            return self.root(*arguments)
        if name == "factorial":
            return self.factorial(arguments[0])
        if name == "binom":
            return self.binomial(*arguments)
        if name == "abs" and isinstance(arguments[0], Fraction):
            return abs(arguments[0])
        if name in ("floor", "ceil"):
            return self.rounded(name, arguments[0])
        numbers = [self.inexact(argument) for argument in arguments]
        if any(abs(number) > 10**15 for number in numbers) and name not in ("ln", "log", "abs"):
            raise OutOfBounds(f"the argument of {name} is out of bounds")
        try:
            result = _FUNCTIONS[name](self.context, *numbers)
        except (ValueError, ZeroDivisionError):
            raise Undefined(f"{name} is not defined there") from None
        if abs(result) > 1 / _TINY and name in _WITH_POLES:
            raise Undefined(f"{name} is not defined there")
        return self.checked(self.context.mpf(0) if abs(result) < _TINY else result)

    def applied(self, name: str, arguments: list[Value]) -> Fraction:
        """Give an unknown function an unremarkable value that depends on its arguments."""
        rationals = [exact(argument) for argument in arguments]
        texts = [digits(a) if r is None else str(r) for a, r in zip(arguments, rationals, strict=True)]
        return probe_value(f"{name}({';'.join(texts)})", self.probe)

    def root(self, radicand: Value, index: Value) -> Value:
        if not isinstance(index, Fraction) or index.denominator != 1 or not 0 < index <= 64:
            return self.power(radicand, self.divide(Fraction(1), index))
        degree = index.numerator
        if isinstance(radicand, Fraction):
            root = _exact_root(radicand, degree)
            if root is not None:
                return root
            if radicand < 0 and degree % 2:
                return -self.root(-radicand, index)  # the real root, as in `power`
        return self.checked(self.context.root(self.inexact(radicand), degree))

    def factorial(self, argument: Value) -> Value:
        number = exact(argument)
        if number is None or number.denominator != 1 or number < 0:
            if self.is_symbolic(argument):
                return self.checked(self.context.gamma(self.inexact(argument) + 1))
            raise Undefined("the factorial of no natural number")
        if number <= MAX_EXACT_FACTORIAL:
            return Fraction(math.factorial(number.numerator))
        if number > 10**15:
            raise OutOfBounds("a factorial out of bounds")
        return self.checked(self.context.gamma(self.context.mpf(number.numerator + 1)))

    def is_symbolic(self, value: Value) -> bool:
        """Whether a value may come from a name: probe values are no integers."""
        return isinstance(value, Fraction) and value.denominator > 1 and abs(value) < 10**4

    def binomial(self, n: Value, k: Value) -> Value:
        top, bottom = exact(n), exact(k)
        if top is None or bottom is None or top.denominator != 1 or bottom.denominator != 1 or not 0 <= bottom <= top:
            return self.checked(self.context.binomial(self.inexact(n), self.inexact(k)))
        if top <= 300:
            return Fraction(math.comb(top.numerator, bottom.numerator))
        return self.divide(self.factorial(top), self.multiply(self.factorial(bottom), self.factorial(top - bottom)))

    def rounded(self, name: str, argument: Value) -> Fraction:
        number = exact(argument)
        if number is not None:
            return Fraction(math.floor(number) if name == "floor" else math.ceil(number))
        if argument.imag != 0 or self.context.mag(argument) > 100:
            raise Undefined(f"{name} of no real number")
        rounding = self.context.floor if name == "floor" else self.context.ceil
        return Fraction(int(rounding(argument)))


def _exact_root(value: Fraction, degree: int) -> Fraction | None:
    """Return the rational root of a non-negative rational, or None."""
    if value < 0:
        return None
    numerator, denominator = _integer_root(value.numerator, degree), _integer_root(value.denominator, degree)
    return None if numerator is None or denominator is None else Fraction(numerator, denominator)


def _integer_root(value: int, degree: int) -> int | None:
    if degree == 1 or value < 2:
        return value
    if degree == 2:
        root = math.isqrt(value)
        return root if root * root == value else None
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < value:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == value else None


def _named_function(name: str) -> Callable[..., Value]:
    return lambda context, x: getattr(context, name)(x)


_WITH_POLES = frozenset(("tan", "cot", "sec", "csc"))
_OPERATIONS: dict[str, Callable[..., Value]] = {
    "+": _Evaluation.add,
    "*": _Evaluation.multiply,
    "/": _Evaluation.divide,
    "^": _Evaluation.power,
    "-": lambda evaluation, a: -a,
    "+-": lambda evaluation, a: a * evaluation.sign,
    "-+": lambda evaluation, a: -a * evaluation.sign,
}
_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "log": lambda context, x, base=10: context.log(x) / context.log(base),
    "ln": lambda context, x: context.log(x),
    "arg": lambda context, x: context.arg(x),
    "Re": lambda context, x: x.real,
    "Im": lambda context, x: x.imag,
    "abs": lambda context, x: abs(x),
    **{name: _named_function(name) for name in "sin cos tan cot sec csc asin acos atan sinh cosh tanh exp".split()},
}
