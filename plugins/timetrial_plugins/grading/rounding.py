"""Whether a decimal is a value that it cannot write out, rounded."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

from timetrial_plugins.grading.structure import Key

MAX_DIGITS = 40
"""Values are known to so many digits here."""
MAX_MAGNITUDE = 20
"""Of values and denominators, as a power of ten."""
_REAL = re.compile(r"-?\d\.?\d*(?:e[-+]?\d{1,2})?")
_ROUNDINGS = (ROUND_HALF_EVEN, ROUND_HALF_UP)


def rounds_to(value: Key, decimal: Key, num_digits: int) -> bool:
    """Whether a value without a finite decimal expansion rounds to a decimal of at least so many significant digits."""
    if decimal[0] != "q" or "/" not in decimal[1]:
        return False
    written, exact = _finite(Fraction(decimal[1])), _endless(value)
    if written is None or exact is None or len(written.as_tuple().digits) < num_digits:
        return False
    step = Decimal(1).scaleb(int(written.as_tuple().exponent))
    return any(exact.quantize(step, rounding, Context(prec=60)) == written for rounding in _ROUNDINGS)


def _finite(number: Fraction) -> Decimal | None:
    """Return a rational number as a decimal, if it is one of less than 40 digits."""
    if number.denominator > 10**MAX_DIGITS or 10**MAX_DIGITS % number.denominator:
        return None
    context = Context(prec=500)
    digits = Decimal(number.numerator * (10**MAX_DIGITS // number.denominator))
    decimal = digits.scaleb(-MAX_DIGITS, context).normalize(context)
    return decimal if len(decimal.as_tuple().digits) < MAX_DIGITS else None


def _endless(key: Key) -> Decimal | None:
    """Return a real value of moderate size that has no finite decimal expansion, to 40 digits."""
    context = Context(prec=MAX_DIGITS)
    if key[0] == "q" and "/" in key[1]:
        number = Fraction(key[1])
        is_finite = 10**MAX_DIGITS % number.denominator == 0
        if is_finite or max(abs(number.numerator), number.denominator) > 10**MAX_MAGNITUDE:
            return None
        return context.divide(Decimal(number.numerator), Decimal(number.denominator))
    if key[0] == "n" and _REAL.fullmatch(key[1]):
        value = Decimal(key[1])
        return context.plus(value) if abs(value.adjusted()) < MAX_MAGNITUDE else None
    return None
