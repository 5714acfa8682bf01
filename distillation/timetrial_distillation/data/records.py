"""Records of training data and where they come from: what every source promises, and how one is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Json = Mapping[str, Any]  # Any: JSON


class Record(NamedTuple):
    """One record and where it stands."""

    position: int
    """In the whole source, from 0."""
    file: str
    """Name of the file or the data set, for messages."""
    number: int
    """Line of a file of JSON lines; else row, from 1."""
    values: Json


class RecordSource(Protocol):
    """An ordered sequence of records: equal descriptions, equal records in the same order."""

    @property
    def description(self) -> Json:
        """What tells the source apart from others, its revision included; JSON-ready, without places on a machine."""
        ...

    @property
    def licence(self) -> str | None:
        """The licence that the source states of itself."""
        ...

    def num_records(self) -> int | None:
        """Return how many records there are, if that is known without reading them."""
        ...

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns; those of the first record, where records differ.

        Raises:
            DataError: there is no record, or it cannot be read.
        """
        ...

    def records(self, start: int, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the records from number `start` on; columns that are not named may be left out.

        Raises:
            DataError: a record cannot be read, or a file has no such column.
        """
        ...
