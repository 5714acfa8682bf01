"""What a machine was measured to do: the rates that floors are computed from (docs/timing.md)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineRates:
    """How fast a device was measured to move bytes and to multiply matrices in one number format."""

    bandwidths: tuple[tuple[int, float], ...]
    """(bytes of a working set, bytes per second), ascending in bytes: a small set may lie in a cache."""
    flops_per_s: float
    device: str
    """Its name, for people."""
    dtype: str

    def bytes_per_s(self, working_set: float) -> float:
        """Return the fastest rate measured at a working set as large or larger; at the largest if all are smaller.

        Sizes in between take the rate of the next smaller one, which is not slower: a floor has to lie below.
        """
        at = max((index for index, (size, _) in enumerate(self.bandwidths) if size <= working_set), default=0)
        return max(rate for _, rate in self.bandwidths[at:])
