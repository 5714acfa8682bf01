"""Shards of encoded documents on disk: written whole or not at all, read through the operating system's page cache.

A shard is a folder:

    tokens.bin    uint32, little-endian: the tokens of all documents, one behind the other
    mask.bin      one bit a token, lowest first: whether it is learned when answers alone are
    offsets.npy   int64, (documents + 1,): where each document begins in tokens.bin, and where the last one ends
    keys.npy      uint64, (documents,): a digest of each document, if duplicates were looked for
    shard.json    the counts, the digests of the files, and the place in the source behind the shard
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timetrial.error import DataError
from timetrial.progress import ProgressFactory, silent
from timetrial_distillation.data.documents import EncodedDocument
from timetrial_distillation.data.records import Json
from timetrial_distillation.output import write_json
from timetrial_registry.digest import file_digest

TOKENS, MASK, OFFSETS, KEYS, RECORD = "tokens.bin", "mask.bin", "offsets.npy", "keys.npy", "shard.json"
TOKEN_TYPE = np.dtype("<u4")
PARTIAL = ".partial"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRecord:
    """What a finished shard holds."""

    name: str
    num_documents: int
    num_tokens: int
    num_supervised: int
    """Tokens that are learned when answers alone are."""
    next_record: int
    """The first record of the source that is not in this shard or an earlier one."""
    left_out: Mapping[str, int]
    """Records met on the way that are in no shard, by reason."""
    overlaps: tuple[Json, ...]
    """Documents that share words with test problems."""
    sha256: Mapping[str, str]
    """Of each file but shard.json."""

    @classmethod
    def from_json(cls, data: Json) -> ShardRecord:
        """Read the content of a shard.json."""
        return cls(**{**data, "overlaps": tuple(data["overlaps"])})


def shard_name(number: int) -> str:
    """Return the name of a shard's folder."""
    return f"shard-{number:05d}"


class ShardWriter:
    """Collects the documents of one shard in a folder that gets its name when it is complete."""

    def __init__(self, folder: Path, number: int, *, has_keys: bool) -> None:
        self.name = shard_name(number)
        self._path = folder / self.name
        self._partial = folder / (self.name + PARTIAL)
        if self._partial.exists():
            shutil.rmtree(self._partial)
        self._partial.mkdir()
        self._file = (self._partial / TOKENS).open("wb")
        self._offsets = [0]
        self._masks: list[NDArray[np.bool_]] = []
        self._keys: list[int] | None = [] if has_keys else None

    @property
    def num_tokens(self) -> int:
        """Tokens so far."""
        return self._offsets[-1]

    def add(self, document: EncodedDocument) -> None:
        """Append a document."""
        self._file.write(document.tokens.astype(TOKEN_TYPE).tobytes())
        self._offsets.append(self._offsets[-1] + len(document.tokens))
        self._masks.append(document.is_answer)
        if self._keys is not None:
            self._keys.append(document_key(document))

    def finish(self, next_record: int, left_out: Mapping[str, int], overlaps: tuple[Json, ...]) -> ShardRecord:
        """Write everything to the disk, then give the folder its name."""
        self._file.close()
        mask = np.concatenate(self._masks)
        (self._partial / MASK).write_bytes(np.packbits(mask, bitorder="little").tobytes())
        np.save(self._partial / OFFSETS, np.array(self._offsets, dtype=np.int64))
        if self._keys is not None:
            np.save(self._partial / KEYS, np.array(self._keys, dtype=np.uint64))
        record = ShardRecord(
            name=self.name,
            num_documents=len(self._masks),
            num_tokens=self.num_tokens,
            num_supervised=int(mask.sum()),
            next_record=next_record,
            left_out=dict(left_out),
            overlaps=overlaps,
            sha256={path.name: file_digest(path) for path in sorted(self._partial.iterdir())},
        )
        write_json(self._partial / RECORD, asdict(record))
        for path in self._partial.iterdir():
            _sync(path)
        self._partial.rename(self._path)
        return record

    def discard(self) -> None:
        """Remove what was collected."""
        self._file.close()
        shutil.rmtree(self._partial)


class Shard:
    """A finished shard, open for reading."""

    def __init__(self, path: Path, record: ShardRecord) -> None:
        """Map its files into memory; nothing is read but the offsets.

        Raises:
            DataError: a file is missing, or has not the size it should have.
        """
        _check_size(path / TOKENS, record.num_tokens * TOKEN_TYPE.itemsize)
        _check_size(path / MASK, -(-record.num_tokens // 8))
        # As plain arrays over the mapped files: every slice of a memmap object would cost several times as much.
        self._tokens = np.asarray(np.memmap(path / TOKENS, dtype=TOKEN_TYPE, mode="r"))
        self._bits = np.asarray(np.memmap(path / MASK, dtype=np.uint8, mode="r"))
        try:
            self._offsets = np.load(path / OFFSETS)
        except (OSError, ValueError) as cause:
            raise damaged(path / OFFSETS, f"it cannot be read ({cause})") from cause
        if len(self._offsets) != record.num_documents + 1 or self._offsets[-1] != record.num_tokens:
            raise damaged(path / OFFSETS, f"it does not describe {record.num_documents:,} documents")

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each document."""
        lengths: NDArray[np.int32] = np.diff(self._offsets).astype(np.int32)
        return lengths

    def document(self, place: int) -> EncodedDocument:
        """Return a document, its tokens as a view of the file."""
        start, stop = int(self._offsets[place]), int(self._offsets[place + 1])
        bits = np.unpackbits(self._bits[start // 8 : -(-stop // 8)], bitorder="little")
        return EncodedDocument(self._tokens[start:stop], bits[start % 8 :][: stop - start].astype(np.bool_))


def read_shard_record(path: Path) -> ShardRecord:
    """Read the shard.json of a shard's folder.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        return ShardRecord.from_json(json.loads((path / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as cause:
        raise damaged(path / RECORD, f"it cannot be read ({cause})") from cause


def verify_shards(folder: Path, records: Sequence[ShardRecord], progress: ProgressFactory = silent) -> None:
    """Read all shards of a folder and compare their digests.

    Raises:
        DataError: a file is missing or changed.
    """
    with progress("verifying shards", len(records)) as advance:
        for record in records:
            for name, digest in record.sha256.items():
                file = folder / record.name / name
                if not file.is_file():
                    raise damaged(file, "it is missing")
                if file_digest(file) != digest:
                    raise damaged(file, "its content has changed since it was written")
            advance(1)


def read_keys(path: Path) -> list[int]:
    """Return the documents' keys of a shard that has them."""
    keys: list[int] = np.load(path / KEYS).tolist()
    return keys


def document_key(document: EncodedDocument) -> int:
    """Return 64 bits of a digest of its tokens: among 14 million documents two share them with odds of 1 to 190,000."""
    return int.from_bytes(hashlib.blake2b(document.tokens.tobytes(), digest_size=8).digest(), "little")


def damaged(path: Path, why: str) -> DataError:
    """Return the error for a file of prepared data that cannot be used."""
    return DataError(f"is damaged: {why}. Copy the folder again, or delete it and prepare the data anew.", path)


def _check_size(path: Path, num_bytes: int) -> None:
    found = path.stat().st_size if path.is_file() else None
    if found != num_bytes:
        raise damaged(path, "it is missing" if found is None else f"it has {found:,} bytes, expected {num_bytes:,}")


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
