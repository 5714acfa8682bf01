"""What a part of a step calls, recorded once and then called without Python in between.

Whatever a part does besides calls of C functions would be missing when the calls are made again. So while it is
recorded, PyTorch may look at tensors in other shapes and do nothing else.
Shapes: R rows that there is room for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from timetrial_plugins.ops.native.library import Call

_PLACES = 2  # for results of a width: what is read, and what is written meanwhile


class NotRecordedError(Exception):
    """A part of a step does more than call C functions; the message says what."""


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """The calls made inside of a `with`, and room for their results, which has to stay as long as they are made."""

    def __init__(self, rows: int) -> None:
        """Leave room for `rows` rows, R; calls can then be made for any number up to that."""
        super().__init__()  # type: ignore[no-untyped-call]  # nor this
        self._rows = rows
        self.calls: list[Call] = []
        self._places: dict[tuple[int, torch.dtype], deque[Tensor]] = {}
        self._kept: list[Tensor] = []

    def room(self, width: int, dtype: torch.dtype) -> Tensor:
        """Return (R, width) for a result; it is written over by the second result of its width after this one."""
        places = self._places.setdefault((width, dtype), deque())
        if len(places) < _PLACES:
            places.append(torch.empty(self._rows, width, dtype=dtype))
        else:
            places.rotate(-1)
        return places[-1]

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),  # Any: whatever operations take and return
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Let views through, and empty room.

        Raises:
            NotRecordedError: this is something else.
        """
        if not func.is_view and func is not torch.ops.aten.empty.memory_format:
            raise NotRecordedError(f"a step calls {func}, which is no function of the native kernels")
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self._kept.append(result)  # the calls know its address
        return result
