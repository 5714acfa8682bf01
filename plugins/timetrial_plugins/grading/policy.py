"""THE POLICY: what a gold answer forgives beyond equality, one field a rule.

Answers with equal keys (`key.py`) are equal, whatever the policy: 1/2 is 0.5, x + y is y + x, 90 is 90 degrees, \\$5
is 5, an inequality is the set of numbers it leaves, solutions may stand in any order, text is compared without regard
to case, log is the decimal logarithm, +- gives both values, odd roots of negative numbers are real. Keys do not depend
on the policy, so classes and votes do not either.

Where keys differ, the rules below (`leniency.py`) are tried, also part by part in tuples, lists and matrices of the
same shape. A rule makes two answers equal; none makes two equal answers different, and no tolerance is absolute.
Without a rule, two keys that differ are different answers: order counts in tuples, brackets of intervals count, a base
subscript counts, 28 is not 0.28, and two different units of measurement differ.

What is forgiven depends on the gold answer's text and on the key of the answer, so that the members of an answer class
are all judged alike. That is why a list without brackets is no tuple: 1, 2 and 2, 1 are of one class.

The policy is part of a run's record: another policy gives other numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What a gold answer forgives; the defaults are the documented policy."""

    unit: bool = True
    """A unit or percent sign on one side only (15 for 15 cm^2, 10 for 10 %); of words that are no units of measurement
    one in common (12 ways, 12 different ways). Dollars and degrees are as good as written: 5 cents is not \\$5."""
    percent: bool = True
    """28 % and 0.28 are equal. (28 % and 28 are equal by `unit`; 28 and 0.28 never are.)"""
    significant_digits: int | None = 4
    """A decimal of at least so many significant digits, not counting zeros at its end, equals a value without a finite
    decimal expansion that rounds to it: 4.1231 for the root of 17, 0.3333 for 1/3. None: decimals are exact."""
    decimal_comma: bool = True
    """A gold answer 1,22 that is also the list of 1 and 22 is equal to 1.22."""
    label: bool = True
    """y = 2x + 3 for 2x + 3, and the other way round; x = 1, y = 2 for the list 1, 2 or the tuple (1, 2) in the order
    of the names; 3 (mod 7) for 3."""
    letters: bool = True
    """Two or three small letters, which are read as a word, for the product of these names: ab for a b."""
    repeats: bool = True
    """A solution that the answer lists twice counts once, unless the gold answer lists one twice."""
    vectors: bool = True
    """A matrix of one column or row for a tuple."""
    choice: bool = True
    """(B) 5 for B and for 5."""
    ratio: bool = True
    """3:4 for 3/4."""
    clock: bool = True
    """12:00 for 12:00 p.m. (12:00 a.m. and 12:00 p.m. differ)."""
    domain: bool = True
    """Formulas that agree wherever both have real values, and have them for positive names, are equal: 2 ln x for
    ln x^2; but not x for |x|, which are both real for negative x and differ there."""

    def as_mapping(self) -> Mapping[str, bool | int | None]:
        """Return the fields by name, ready for JSON."""
        return asdict(self)
