"""The numbers that names stand for, so that a formula with names becomes numbers too.

They are fixed and unremarkable: not far from one, so that powers stay small, and no finite decimals. At one probe they
are greater, which tells |x - 3| from 3 - x, at one negative, which tells |x| from x, and at the last one of either
sign, which tells |xy| from xy. A name that a sum counts up to (n) is a whole number instead.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from functools import lru_cache

NUM_PROBES = 4
NEGATIVE_PROBE = 2
"""From this probe on, not all names are positive."""
_SMALLEST_INTEGER = 4
_NUM_INTEGERS = 15


@lru_cache(maxsize=4_096)
def probe_value(name: str, probe: int) -> Fraction:
    """Return the number a name stands for at a probe point (0, 1, ...)."""
    size = Fraction(10_007 + _seed(name, probe) % 10_007, 8_191)
    if probe == 1:
        return 4 * size
    # So that letters next to each other in the alphabet, or in subscripts, have different signs.
    is_negative = probe == 2 or probe == 3 and sum(name.encode("utf-8", "surrogatepass")) % 2 == 1
    return -size if is_negative else size


@lru_cache(maxsize=1_024)
def probe_integer(name: str, probe: int) -> int:
    """Return the whole number a name stands for at a probe point; no two letters have the same ones at all points."""
    return _SMALLEST_INTEGER + _seed(name, probe) // 10_007 % _NUM_INTEGERS


def _seed(name: str, probe: int) -> int:
    digest = hashlib.blake2b(f"{probe}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
