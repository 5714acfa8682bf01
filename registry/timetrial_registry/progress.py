"""How long work reports how far it is; the caller draws it. A bar of the command line fits as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
"""Called with the number of bytes done since the last call, sometimes from several threads at once."""

ProgressFactory = Callable[[str, int], AbstractContextManager[Advance]]
"""Open a bar with a label and a total, in bytes."""


def ignore(count: int) -> None:
    """Show nothing of an advance."""


@contextmanager
def silent(label: str, total: int) -> Iterator[Advance]:
    """Show nothing."""
    yield ignore
