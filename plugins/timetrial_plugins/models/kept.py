"""What steps need of parameters beside products: worked out each time, or once and kept.

Steps are many and parameters do not change between them: the rates of a recurrence are exponentials of a parameter,
and vector instructions want the taps of a convolution side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Owner = TypeVar("Owner")
Value = TypeVar("Value")


class Kept(Generic[Owner, Value]):
    """The value of a function of a module's parameters."""

    def __init__(self, owner: Owner, make: Callable[[Owner], Value]) -> None:
        """Stand for `make(owner)`; nothing is computed yet."""
        self._owner, self._make = owner, make
        self._value: Value | None = None

    def __call__(self) -> Value:
        """Return the value: that of when it was kept, if it was."""
        return self._make(self._owner) if self._value is None else self._value

    def keep(self) -> None:
        """Work the value out of the parameters as they are now, once for all calls to come."""
        with torch.no_grad():
            self._value = self._make(self._owner)
