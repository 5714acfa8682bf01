"""Write numbers as the text that keys hold."""

from __future__ import annotations

import hashlib
import math

from mpmath.libmp import from_rational, mpf_pos, to_str  # type: ignore[import-untyped]  # mpmath has no annotations

from timetrial_plugins.grading.arithmetic import FAST_BITS, Complex, Real, Value
from timetrial_plugins.grading.rational import Rational, Rough, information, recognised
from timetrial_plugins.grading.structure import Key

KEY_DIGITS = 85
MAX_INFORMATION = 140
"""Bits of the numbers that may be chosen for what is rounded to 85 digits: half of what these hold.

Two formulas of small numbers do not agree in 85 digits by chance; with long numbers one can be made to agree with any
other, as every irrational number has rational ones close to it.
"""
_KEY_BITS = 282
"""What 85 digits hold."""
_MAX_MAGNITUDE = 1_000
"""Of numbers that are written by this module's own hand."""
_LOG_2 = math.log10(2)
_POWERS_OF_10 = tuple(10**n for n in range(KEY_DIGITS + 310))
_MAX_PLAIN_BITS = 1_390
"""Numerators and denominators up to 418 digits are written out."""


def text(value: Value) -> str:
    """Return a number to 85 significant digits, the same text for the same number however it was computed."""
    if type(value) is Complex:
        return f"{text(value.real)}+{text(value.imaginary)}i"
    rough = as_rough(value)
    if rough[1] == 0 or abs(rough[2] + rough[3]) > _MAX_MAGNITUDE:
        return str(to_str(rough, KEY_DIGITS, min_fixed=1, max_fixed=0))
    return _scientific(rough)


def _scientific(number: Rough) -> str:
    """Write a number of moderate size as libmp's to_str does, which takes twice as long."""
    sign, mantissa, exponent, bits = number
    place = math.floor((exponent + bits - 1) * _LOG_2)  # of the first digit, or one below it
    digits = ""
    while len(digits) != KEY_DIGITS:
        scale = KEY_DIGITS - 1 - place
        dividend = int(mantissa) * _POWERS_OF_10[max(scale, 0)] << max(exponent, 0)
        divisor = _POWERS_OF_10[max(-scale, 0)] << max(-exponent, 0)
        digits = str((2 * dividend + divisor) // (2 * divisor))
        place += len(digits) - KEY_DIGITS
    digits = digits.rstrip("0")
    return f"{'-' if sign else ''}{digits[0]}.{digits[1:] or '0'}{f'e{place:+}' if place else ''}"


def fingerprint(value: Value) -> str:
    """Return what `text` does in another notation, and in less time."""
    if type(value) is Complex:
        return f"{fingerprint(value.real)}+{fingerprint(value.imaginary)}i"
    sign, mantissa, exponent, _ = mpf_pos(as_rough(value), _KEY_BITS, "n")
    return f"{'-' if sign else ''}{mantissa:x}p{exponent}"


def as_rough(value: Real) -> Rough:
    """Return a real number as a rough one, for display only."""
    if type(value) is tuple:
        return value
    rounded: Rough = from_rational(value.numerator, value.denominator, FAST_BITS, "n")
    return rounded


def number_key(value: Value) -> Key:
    """Return the key of a number."""
    if type(value) is Complex:
        known = sum(information(part) for part in value if type(part) is not tuple)
        return ("n", text(value)) if known <= MAX_INFORMATION else ("exact", text(value), _digest(value))
    rational = recognised(value) if type(value) is tuple else value
    return ("n", text(value)) if rational is None else rational_key(rational)


def rational_key(value: Rational) -> Key:
    """Return the key of a rational number: itself, or if it is long its digits and a digest of all of it."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) <= _MAX_PLAIN_BITS:
        return ("q", str(value))
    return ("exact", text(value), _digest(value))


def _digest(value: Value) -> str:
    parts = value if type(value) is Complex else (value,)
    hexadecimal = [text(x) if type(x) is tuple else f"{x.numerator:x}/{x.denominator:x}" for x in parts]
    return hashlib.blake2b("+".join(hexadecimal).encode(), digest_size=12).hexdigest()
