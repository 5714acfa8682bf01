"""The values of formulas, for those who compute with them.

Rational operations are exact. The rest is done with 100 digits or more and compared on 85; `arithmetic.py` says what is
refused because it could make different values look alike. Names stand for numbers (`probes.py`). The work is counted,
not timed, so that the same formula always has the same outcome. Integrals, limits and infinite sums have no value here.
"""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import Any

import mpmath  # type: ignore[import-untyped]  # it has no annotations

from timetrial_plugins.grading.arithmetic import FAST_BITS, Complex, joined, magnitude
from timetrial_plugins.grading.decimals import as_rough, text
from timetrial_plugins.grading.evaluation import evaluation
from timetrial_plugins.grading.expression import Node
from timetrial_plugins.grading.fuel import Fuel, OutOfBounds, Undefined
from timetrial_plugins.grading.probes import NEGATIVE_PROBE, NUM_PROBES, probe_value
from timetrial_plugins.grading.rational import recognised

__all__ = [
    "NEGATIVE_PROBE",
    "NUM_PROBES",
    "OutOfBounds",
    "Undefined",
    "Value",
    "digits",
    "evaluate",
    "exact",
    "probe_value",
]

Value = Any  # a Fraction, or an mpf or mpc of mpmath, which has no type annotations

_DENOMINATOR_BITS = 100
"""Of a rational number that is recognised here; keys do with fewer, since recognising them takes long."""
_NOISE_BITS = 310
"""The smaller part of a complex number is nothing but rounding if it is smaller by so many bits."""


class _Contexts(threading.local):
    """One mpmath context a thread: contexts change their precision while they work."""

    def __init__(self) -> None:
        self.context = mpmath.MPContext()
        self.context.prec = FAST_BITS


_CONTEXTS = _Contexts()


def evaluate(node: Node, probe: int, sign: int = 1) -> Value:
    """Return the value of a formula at a probe point (0, 1, ...), with `sign` for its plus-minus.

    Raises:
        Undefined: division by zero, a number out of bounds, or something that has no number.
    """
    value = evaluation(node, probe, sign, Fuel()).result
    context = _CONTEXTS.context
    if type(value) is Complex:
        return context.make_mpc((as_rough(value.real), as_rough(value.imaginary)))
    return context.make_mpf(value) if type(value) is tuple else Fraction(value)


def exact(value: Value) -> Fraction | None:
    """Return the rational number a value is, or None if it seems irrational or is complex."""
    if isinstance(value, Fraction):
        return value
    if value.imag != 0:
        return None
    rational = recognised(value.real._mpf_, _DENOMINATOR_BITS)
    return None if rational is None else Fraction(rational)


def digits(value: Value) -> str:
    """Return a value to 85 significant digits, the same text for the same number however it was computed."""
    if isinstance(value, Fraction) or value.imag == 0:
        return text(value if isinstance(value, Fraction) else value.real._mpf_)
    real, imaginary = value.real._mpf_, value.imag._mpf_
    fall = magnitude(real) - magnitude(imaginary) if real[1] else 0
    if fall > _NOISE_BITS:
        return text(real)
    return text(joined(0 if fall < -_NOISE_BITS else real, imaginary))
