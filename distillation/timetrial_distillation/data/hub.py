"""Records of a data set on the Hub, streamed through `datasets` from a pinned commit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from timetrial.error import DataError
from timetrial_distillation.data.records import Json, Record

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILE_ENDINGS = (".parquet", ".json", ".jsonl", ".gz", ".zst", ".zip", ".csv")


def is_hub_id(text: str) -> bool:
    """Whether text names a data set on the Hub: it has the form org/name, and is no file, nor the name of one."""
    return bool(_HUB_ID.fullmatch(text)) and not text.endswith(_FILE_ENDINGS) and not Path(text).exists()


class HubFacts(NamedTuple):
    """What the Hub says of a data set."""

    commit: str
    licence: str | None


class Hub(Protocol):
    """The two questions that are asked of the Hub."""

    def facts(self, repository: str, revision: str | None) -> HubFacts:
        """Return the commit that a branch, tag or (None) the main branch stands at now, and the licence."""
        ...

    def stream(self, dataset: HubDataset) -> Iterable[Json]:
        """Return the records in order; what is returned has `column_names`, `skip` and `select_columns`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HubDataset:
    """One split of a data set at one commit."""

    repository: str
    config: str | None
    split: str
    commit: str


class DatasetsHub:
    """The Hub as `huggingface_hub` and `datasets` reach it."""

    def facts(self, repository: str, revision: str | None) -> HubFacts:
        """Ask for the data set's commit and the licence of its card."""
        from huggingface_hub import HfApi

        info = HfApi().dataset_info(repository, revision=revision)
        card = info.card_data
        licence = None if card is None else card.get("license")
        return HubFacts(str(info.sha), ", ".join(licence) if isinstance(licence, list) else licence)

    def stream(self, dataset: HubDataset) -> Any:  # Any: datasets ships no types
        """Open the split for streaming; nothing is stored on disk."""
        import datasets

        return datasets.load_dataset(
            dataset.repository, dataset.config, split=dataset.split, revision=dataset.commit, streaming=True
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class HubSource:
    """One split of a data set on the Hub."""

    dataset: HubDataset
    licence: str | None
    hub: Hub

    @property
    def description(self) -> Json:
        """Repository, config, split and commit."""
        parts = self.dataset
        return {
            "kind": "hub",
            "repository": parts.repository,
            "config": parts.config,
            "split": parts.split,
            "commit": parts.commit,
        }

    def num_records(self) -> int | None:
        """Return the number that the data set's metadata gives for the split."""
        info = getattr(self._stream(), "info", None)
        split = ((info and info.splits) or {}).get(self.dataset.split)
        return None if split is None else split.num_examples

    def columns(self) -> tuple[str, ...]:
        """Return the columns, from the metadata or else from the first record."""
        stream = self._stream()
        return tuple(stream.column_names or next(self._records(stream), {}))

    def records(self, start: int, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the records from `start` on; the connection may break, and the source be asked again from there."""
        stream = self._stream().select_columns(list(columns)).skip(start)
        for position, values in enumerate(self._records(stream), start):
            yield Record(position, self.dataset.repository, position + 1, values)

    def _stream(self) -> Any:  # Any: datasets ships no types
        try:
            return self.hub.stream(self.dataset)
        except Exception as cause:  # the library raises errors of a dozen unrelated kinds when it cannot fetch
            raise self._failed(cause) from cause

    def _records(self, stream: Iterable[Json]) -> Iterator[Json]:
        try:
            yield from stream
        except Exception as cause:  # as above
            raise self._failed(cause) from cause

    def _failed(self, cause: Exception) -> DataError:
        reason = str(cause).strip().partition("\n")[0]
        return DataError(
            f"cannot be streamed ({type(cause).__name__}: {reason}). Run the command again to go on after the last"
            " finished shard, or download the files and name them as --source.",
            f"Hub data set {self.dataset.repository}",
        )


def open_dataset(
    repository: str, config: str | None, split: str, revision: str | None, hub: Hub | None = None
) -> HubSource:
    """Pin a data set to the commit that `revision` names now.

    Raises:
        DataError: the Hub cannot be reached, or has no such data set or revision.
    """
    hub = hub or DatasetsHub()
    try:
        facts = hub.facts(repository, revision)
    except Exception as cause:  # the library raises errors of many kinds, those of its HTTP library included
        reason = str(cause).strip().partition("\n")[0]
        raise DataError(
            f"not found at revision {revision or 'main'} ({type(cause).__name__}: {reason}). Check the id and the"
            " connection, run `hf auth login` if access is restricted, or name downloaded files as --source.",
            f"Hub data set {repository}",
        ) from cause
    dataset = HubDataset(repository=repository, config=config, split=split, commit=facts.commit)
    return HubSource(dataset=dataset, licence=facts.licence, hub=hub)
