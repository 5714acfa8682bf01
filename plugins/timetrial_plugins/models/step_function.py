"""Parts of a decode step that can be compiled: many operations on the same numbers, which become one pass over them.

Only tensors go in and out, so that one compilation serves all layers, rows and positions. What compiling does not make
faster is no step function: products of matrices, and whatever is a single operation already (docs/engine.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class StepFunction(Generic[Parameters, Result]):
    """A function of tensors, as it is or compiled."""

    def __init__(self, function: Callable[Parameters, Result]) -> None:
        """Call `function` until it is compiled."""
        self._plain = self._function = function

    def __call__(self, *arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        """Call it."""
        return self._function(*arguments, **options)

    @property
    def name(self) -> str:
        """The function's name."""
        return self._plain.__name__

    def compile(self) -> None:
        """Have it compiled at the next call, for any number of rows."""
        self._function = torch.compile(self._plain, dynamic=True)
