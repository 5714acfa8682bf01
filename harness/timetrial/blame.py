"""Say whose code failed: whatever a plugin raises that is not meant for the user becomes an error that names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from timetrial.error import PluginError, TimetrialError
from timetrial.manager import describe
from timetrial.spec import Origin

Item = TypeVar("Item")


@contextmanager
def blaming(what: str, origin: Origin) -> Iterator[None]:
    """Turn what a plugin's code raises inside the block into a PluginError; errors made for users pass.

    Raises:
        PluginError: names what failed, the plugin, its distribution and the cause.
    """
    try:
        yield
    except TimetrialError:
        raise
    except Exception as cause:  # a plugin may raise anything
        raise PluginError(
            f"{what} of plugin {describe(origin)} failed: {type(cause).__name__}: {cause}. Everything finished so far "
            "is kept. TIMETRIAL_TRACE_PLUGINS=1 shows where it happened"
        ) from cause


def blaming_each(what: str, origin: Origin, items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items of a plugin's iterator, and blame it for what it raises while making one."""
    with blaming(what, origin):  # what the caller does with an item raises there, not in here
        yield from items
