"""From records to encoded documents, in batches: read, select, adapt, compare with test problems, encode."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import NamedTuple

from timetrial.error import UsageError
from timetrial_distillation.data.adapters import AUTO, Adapter, Document, Text, UnfitError, find_adapter
from timetrial_distillation.data.documents import EncodedDocument
from timetrial_distillation.data.encoding import DocumentEncoder
from timetrial_distillation.data.overlap import Overlap, TestProblems
from timetrial_distillation.data.records import Json, Record, RecordSource

BATCH = 256
"""Records that are encoded together."""
FILTERED = "filtered"
OVERLAPPING = "overlap with test problems"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which records of a source are taken, and how they are read."""

    adapter: str = AUTO
    rename: tuple[tuple[str, str], ...] = ()
    """Pairs of a column's name in the source and the name an adapter knows."""
    where: tuple[tuple[str, str], ...] = ()
    """Pairs of column and value: records with another value are left out. Several values of a column: any of them."""
    keep_overlaps: bool = False
    """Take documents that share words with test problems too, and only count them."""


class Outcome(NamedTuple):
    """What became of a record."""

    record: Record
    result: EncodedDocument | UnfitError
    """The document, or why there is none."""
    overlap: Overlap | None
    """Words that it shares with a test problem."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
    """Everything between the source and the shards; its outcomes are a function of its parts."""

    source: RecordSource
    encoder: DocumentEncoder
    selection: Selection = Selection()
    problems: TestProblems | None = None
    """Test problems that no document should contain."""

    def adapter(self) -> Adapter:
        """Return the adapter that fits the source.

        Raises:
            UsageError: none or several do, or a column that is named does not exist.
        """
        columns = self.source.columns()
        for name, _ in (*self.selection.rename, *self.selection.where):
            if name not in columns:
                raise UsageError(f"the source has no column {name!r}; it has {', '.join(columns)}")
        renamed = dict(self.selection.rename)
        return find_adapter(self.selection.adapter, [renamed.get(name, name) for name in columns])

    def description(self) -> Json:
        """Return what must be equal for the outcomes to be equal, ready for JSON."""
        described = {
            "source": self.source.description,
            "tokenizer_digest": self.encoder.digest,
            "test_problems": [] if self.problems is None else self.problems.description,
            **asdict(self.selection),
            "adapter": self.adapter().name,
        }
        data: Json = json.loads(json.dumps(described))
        return data

    def outcomes(self, start: int) -> Iterator[list[Outcome]]:
        """Yield the outcomes of the records from number `start` on, in order.

        Raises:
            DataError: a record cannot be read.
        """
        adapter = self.adapter()
        found = {expected: name for name, expected in self.selection.rename}
        wanted = [found.get(name, name) for name in adapter.columns] + [name for name, _ in self.selection.where]
        records = self.source.records(start, tuple(dict.fromkeys(wanted)))
        while batch := list(islice(records, BATCH)):
            yield self._convert(adapter, batch)

    def _convert(self, adapter: Adapter, batch: Sequence[Record]) -> list[Outcome]:
        read = [self._read(adapter, record.values) for record in batch]
        overlaps = [self._overlap(result) for result in read]
        if not self.selection.keep_overlaps:
            pairs = zip(read, overlaps, strict=True)
            read = [result if overlap is None else UnfitError(OVERLAPPING) for result, overlap in pairs]
        documents = {place: result for place, result in enumerate(read) if not isinstance(result, UnfitError)}
        encoded = dict(zip(documents, self.encoder.encode_documents(list(documents.values())), strict=True))
        return [
            Outcome(record, result if isinstance(result, UnfitError) else encoded[place], overlap)
            for place, (record, result, overlap) in enumerate(zip(batch, read, overlaps, strict=True))
        ]

    def _read(self, adapter: Adapter, values: Json) -> Document | UnfitError:
        for name, _ in self.selection.where:
            accepted = [value for other, value in self.selection.where if other == name]
            if str(values.get(name)) not in accepted:
                return UnfitError(f"{FILTERED}: {name} is {values.get(name)!r:.60}")
        try:
            return adapter.read(_renamed(values, dict(self.selection.rename)))
        except UnfitError as error:
            return error

    def _overlap(self, document: Document | UnfitError) -> Overlap | None:
        if self.problems is None or isinstance(document, UnfitError):
            return None
        texts = [document.text] if isinstance(document, Text) else [message.content for message in document.messages]
        return next((found for text in texts if (found := self.problems.find(text))), None)


def _renamed(values: Json, names: Mapping[str, str]) -> Json:
    return {names.get(name, name): value for name, value in values.items()} if names else values
