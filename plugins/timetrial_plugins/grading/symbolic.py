"""The last resort for a formula: its exact form by sympy, for numbers that 60 digits cannot tell apart.

sympy works on symbols and on numbers of bounded size only, so that it cannot run away; what exceeds the bounds has no
form. The caller imports this module only when it is needed.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import sympy

from timetrial_plugins.grading.expression import Node

MAX_NODES = 120
MAX_BITS = 10_000
MAX_FACTORIAL = 1_000
MAX_EXPANDED_POWER = 8


class _TooLarge(Exception):
    pass


def symbolic_form(node: Node) -> str | None:
    """Return a digest of the expanded formula, or None if it exceeds the bounds or has no such form."""
    if _num_nodes(node) > MAX_NODES:
        return None
    try:
        expression = _convert(node)
    except _TooLarge:
        return None
    if expression.has(sympy.nan, sympy.zoo, sympy.oo):
        return None
    expanded = sympy.expand(expression)
    if any(max(int(number.p).bit_length(), int(number.q).bit_length()) > MAX_BITS for number in _rationals(expanded)):
        return None
    return hashlib.blake2b(sympy.srepr(expanded).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _rationals(expression: sympy.Expr) -> set[sympy.Rational]:
    return set(expression.atoms(sympy.Rational))


def _num_nodes(node: Node) -> int:
    return 1 + sum(_num_nodes(operand) for operand in node[1:] if isinstance(operand, tuple))


def _convert(node: Node) -> sympy.Expr:
    tag = node[0]
    if tag == "number":
        return _number(node[1])
    if tag == "name":
        return sympy.Symbol(node[1], positive=True)
    if tag == "constant":
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}[node[1]]
    operands = [_convert(operand) for operand in node[1:] if isinstance(operand, tuple)]
    if tag == "call":
        return _call(node[1], operands)
    if tag == "^":
        return _power(*operands)
    if tag == "/" and operands[1] == 0 or tag not in ("+", "*", "/", "-"):
        raise _TooLarge
    if tag == "-":
        return -operands[0]
    left, right = operands
    return left + right if tag == "+" else left * right if tag == "*" else left / right


def _number(value: Fraction) -> sympy.Rational:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _TooLarge
    return sympy.Rational(value.numerator, value.denominator)


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    if base.is_Number and exponent.is_Number:
        bits = max(int(base.p).bit_length(), int(base.q).bit_length()) if base.is_Rational else 64
        if not exponent.is_Rational or abs(exponent) * bits > MAX_BITS:
            raise _TooLarge
    elif exponent.is_Number and abs(exponent) > MAX_EXPANDED_POWER and not base.is_Atom:
        raise _TooLarge  # expanding it would take long
    elif exponent.is_number and not exponent.is_Number:
        raise _TooLarge
    return base**exponent


def _call(name: str, arguments: list[sympy.Expr]) -> sympy.Expr:
    if name == "sqrt":
        if not arguments[1].is_Integer or not 0 < arguments[1] <= 64:
            raise _TooLarge
        return sympy.root(arguments[0], arguments[1])
    if name == "factorial" and arguments[0].is_Integer and 0 <= arguments[0] <= MAX_FACTORIAL:
        return sympy.Integer(math.factorial(int(arguments[0])))
    if name.startswith("applied ") or all(argument.is_Atom or not argument.is_number for argument in arguments):
        return sympy.Function(name.replace(" ", "_"))(*arguments)
    raise _TooLarge
