"""Make a sympy object of a formula's tree, with bounds checked before anything is computed. For workers only.

A power, factorial or binomial coefficient of numbers that would have too many digits becomes a symbol of its own, named
after what it is: the same thing is the same symbol, and nothing else is known of it but its sign. Sums, products,
integrals and limits are written down, not evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import sympy

from timetrial_plugins.grading.expression import Node

Expression = Any  # a sympy.Expr: sympy has no type annotations

MAX_BITS = 200_000
"""Of a number that is computed exactly."""
MAX_FACTORIAL = 10_000
UNSEEN = "unseen "
"""The names of symbols that stand for numbers too long to compute begin with this."""
UNFINISHED = (sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit)
"""What is written down and not evaluated."""


class NoForm(Exception):
    """The formula has no value, or none that sympy should be asked for; the text says why."""


def as_sympy(node: Node, values: Mapping[str, Expression] | None = None, sign: int = 1) -> Expression:
    """Return the sympy object of a formula, with `values` for its names and `sign` for its plus-minus.

    Names without a value are real symbols.

    Raises:
        NoForm: it has no value, such as 1/0, or is infinite.
    """
    expression = _Conversion(values or {}, sign).convert(node)
    if expression.has(sympy.nan, sympy.zoo):
        raise NoForm("a formula without a value")
    return expression


class _Conversion:
    """One pass over one tree. `names` holds what names stand for; those bound by a sum hide the others."""

    def __init__(self, names: Mapping[str, Expression], sign: int, depth: int = 0) -> None:
        self.names = names
        self.sign = sign
        self.depth = depth

    def convert(self, node: Node) -> Expression:
        tag = node[0]
        if tag == "number":
            return _rational(node[1])
        if tag in ("name", "constant"):
            return self.name(tag, node[1])
        if tag == "call":
            return _call(node[1], [self.convert(argument) for argument in node[2:]])
        if tag in _BINDERS:
            return _BINDERS[tag](self, *node[1:])
        if tag not in _OPERATIONS:
            raise NoForm(f"{tag} inside a formula")
        return _OPERATIONS[tag](self, *(self.convert(operand) for operand in node[1:]))

    def name(self, tag: str, name: str) -> Expression:
        if name in self.names:
            return self.names[name]
        return _CONSTANTS[name] if tag == "constant" else sympy.Symbol(name, real=True)

    def bound(self, node: Node) -> Expression:
        """Convert the end of a range, which may be infinite."""
        if node == ("infinity",):
            return sympy.oo
        return -sympy.oo if node == ("-", ("infinity",)) else self.convert(node)

    def body(self, name: str, node: Node, **assumptions: bool) -> tuple[Expression, Expression]:
        """Return the symbol of a bound name, which does not depend on how it is written, and the body."""
        symbol = sympy.Symbol(f"bound {self.depth}", real=True, **assumptions)
        return symbol, _Conversion({**self.names, name: symbol}, self.sign, self.depth + 1).convert(node)

    def sum(self, name: str, low: Node, high: Node, node: Node) -> Expression:
        symbol, body = self.body(name, node, integer=True)
        return sympy.Sum(body, (symbol, self.bound(low), self.bound(high)))

    def product(self, name: str, low: Node, high: Node, node: Node) -> Expression:
        symbol, body = self.body(name, node, integer=True)
        return sympy.Product(body, (symbol, self.bound(low), self.bound(high)))

    def integral(self, name: str, low: Node, high: Node, node: Node) -> Expression:
        symbol, body = self.body(name, node)
        return sympy.Integral(body, (symbol, self.bound(low), self.bound(high)))

    def limit(self, name: str, target: Node, side: str, node: Node) -> Expression:
        symbol, body = self.body(name, node)
        return sympy.Limit(body, symbol, self.bound(target), dir=side or "+-")


def _divide(a: Expression, b: Expression) -> Expression:
    if b == 0:
        raise NoForm("division by zero")
    return a / b


def _power(base: Expression, exponent: Expression) -> Expression:
    if base == 0 and exponent.free_symbols:
        raise NoForm("zero to a power that depends on a name")  # no value where the power is not positive
    if not exponent.is_Rational or not base.is_number:
        return base**exponent
    if base.is_negative and exponent.q > 1 and exponent.q % 2 == 1:
        root = _power(-base, exponent)  # the real root, as it is meant in school mathematics
        return -root if exponent.p % 2 else root
    if not base.is_Rational:
        return base**exponent
    if base in (-1, 0, 1) or abs(exponent) * _bits(base) <= MAX_BITS:
        return base**exponent
    if base < 0 and exponent.q > 1:
        raise NoForm("a complex power that is too long to compute")
    size = _unseen(f"{abs(base)}^{exponent}")
    return -size if base < 0 and exponent.p % 2 else size


def _call(name: str, arguments: list[Expression]) -> Expression:
    if name.startswith("applied "):
        return sympy.Function(name)(*arguments)
    if name not in _FUNCTIONS:
        raise NoForm(f"{name} is not converted")
    return _FUNCTIONS[name](*arguments)


def _root(radicand: Expression, index: Expression) -> Expression:
    return _power(radicand, _divide(sympy.Integer(1), index))


def _factorial(number: Expression) -> Expression:
    if number.is_Integer and number > MAX_FACTORIAL:
        return _unseen(f"{number}!")
    return sympy.factorial(number)


def _factorial2(number: Expression) -> Expression:
    if number.is_Integer and number > MAX_FACTORIAL:
        return _unseen(f"{number}!!")
    return sympy.factorial2(number)


def _binomial(n: Expression, k: Expression) -> Expression:
    if n.is_Integer and k.is_Integer and 0 <= k <= n and min(k, n - k) * _bits(n) > MAX_BITS:
        return _unseen(f"{n} over {min(k, n - k)}")
    return sympy.binomial(n, k)


def _of_integers(function: Callable[..., int]) -> Callable[..., Expression]:
    def applied(*arguments: Expression) -> Expression:
        if not all(argument.is_Integer for argument in arguments):
            raise NoForm(f"{function.__name__} of what are no integers")
        return sympy.Integer(function(*map(int, arguments)))

    return applied


def _rational(value: int | Fraction) -> Expression:
    return sympy.Rational(value.numerator, value.denominator)


def _unseen(name: str) -> Expression:
    """Return the symbol of a positive number that is too long to compute."""
    return sympy.Symbol(UNSEEN + name, positive=True)


def _bits(number: Expression) -> int:
    return max(int(number.p).bit_length(), int(number.q).bit_length())


_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}
_OPERATIONS: dict[str, Callable[..., Expression]] = {
    "+": lambda conversion, a, b: a + b,
    "*": lambda conversion, a, b: a * b,
    "/": lambda conversion, a, b: _divide(a, b),
    "^": lambda conversion, a, b: _power(a, b),
    "-": lambda conversion, a: -a,
    "+-": lambda conversion, a: conversion.sign * a,
    "-+": lambda conversion, a: -conversion.sign * a,
}
_BINDERS: dict[str, Callable[..., Expression]] = {
    "sum": _Conversion.sum,
    "product": _Conversion.product,
    "integral": _Conversion.integral,
    "limit": _Conversion.limit,
}
_CIRCULAR = [prefix + name for name in "sin cos tan cot sec csc".split() for prefix in ("", "a")]
_FUNCTIONS: dict[str, Callable[..., Expression]] = {
    "sqrt": _root,
    "log": lambda x, base=10: _divide(sympy.log(x), sympy.log(base)),
    "ln": sympy.log,
    "exp": sympy.exp,
    "abs": sympy.Abs,
    "floor": sympy.floor,
    "ceil": sympy.ceiling,
    "sign": sympy.sign,
    "Re": sympy.re,
    "Im": sympy.im,
    "arg": sympy.arg,
    "conj": sympy.conjugate,
    "factorial": _factorial,
    "factorial2": _factorial2,
    "binom": _binomial,
    "mod": sympy.Mod,
    "gcd": _of_integers(math.gcd),
    "lcm": _of_integers(math.lcm),
    "max": sympy.Max,
    "min": sympy.Min,
    **{name: getattr(sympy, name) for name in _CIRCULAR},
    **{name + "h": getattr(sympy, name + "h") for name in _CIRCULAR},
}
