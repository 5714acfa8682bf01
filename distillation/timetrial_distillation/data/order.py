"""Seeded permutations, of millions of items evaluated where they are needed and never stored.

Few items are sorted by a hash of each. Many go through a Feistel network, which is a bijection of the integers of a
number of bits whatever its round function; what falls outside the range goes through again until it falls inside, which
is a bijection of the range (cycle walking: Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). The
arithmetic is that of 64-bit integers alone, so an order depends on no library's random numbers and stays for good.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_NUM_ROUNDS = 8
_SORTED = 4096
"""Up to so many items are sorted: cheaper, and exactly uniform where a network of few bits is not quite."""
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""Multipliers of SplitMix64's finaliser (Steele, Lea and Flood 2014)."""

Integers = NDArray[np.int64]


class Permutation:
    """A permutation of 0 to `size` - 1 that is a function of its keys; `size` may be billions."""

    def __init__(self, size: int, *keys: int | str) -> None:
        self.size = size
        digest = hashlib.shake_256(repr(keys).encode()).digest(8 * _NUM_ROUNDS)
        self._round_keys = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
        bits = (size - 1).bit_length()
        self._low_bits = np.uint64(bits // 2)
        self._low = np.uint64((1 << bits // 2) - 1)
        self._high = np.uint64((1 << (bits - bits // 2)) - 1)
        self._order = self._sort() if size <= _SORTED else None

    def at(self, start: int, stop: int) -> Integers:
        """Return what stands at the places `start` to `stop` - 1."""
        if self._order is not None:
            return self._order[start:stop]
        values = self._scramble(np.arange(start, stop, dtype=np.uint64))
        while (outside := np.flatnonzero(values >= self.size)).size:
            values[outside] = self._scramble(values[outside])
        return values.astype(np.int64)

    def _sort(self) -> Integers:
        hashes = np.arange(self.size, dtype=np.uint64)
        for key in self._round_keys[:2]:
            hashes = _mixed(hashes, key)  # a bijection of 64 bits: no two are equal
        return np.argsort(hashes)

    def _scramble(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        high, low = values >> self._low_bits, values & self._low
        for number, key in enumerate(self._round_keys):
            if number % 2:
                high ^= _mixed(low, key) & self._high
            else:
                low ^= _mixed(high, key) & self._low
        return (high << self._low_bits) | low


def _mixed(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    mixed = values ^ key
    mixed ^= mixed >> np.uint64(30)
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed
