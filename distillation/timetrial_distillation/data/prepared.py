"""A folder of prepared data: its index, and its documents by number."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from timetrial.error import DataError, UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial_distillation.data.documents import EncodedDocument
from timetrial_distillation.data.plan import Lengths
from timetrial_distillation.data.records import Json
from timetrial_distillation.data.shards import Shard, ShardRecord, damaged, verify_shards

INDEX = "index.json"
FORMAT = "timetrial-prepared/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedIndex:
    """The content of index.json: what the data is, where it came from, and what was left out."""

    format: str
    digest: str
    """Of the tokens, masks and the tokenizer: equal digests, equal documents in the same order."""
    request: Json
    """What was asked for: source with its revision, adapter, tokenizer, and all choices that change the documents."""
    tokenizer_digest: str
    template_digest: str | None
    """Of the chat template with its date pinned; None if the tokenizer has none."""
    vocab_size: int
    licence: str | None
    """What the source says of itself, or the user says of it; None if nobody says."""
    num_records: int
    """Records of the source that were read."""
    num_documents: int
    num_tokens: int
    num_supervised: int
    """Tokens that are learned when answers alone are."""
    left_out: Mapping[str, int]
    """Records that made no document here, by reason."""
    overlaps: tuple[Json, ...]
    """Documents that share a run of words with a test problem, kept or left out: record, test file and line, words."""
    shards: tuple[ShardRecord, ...]

    def to_json(self) -> Json:
        """Return the content of index.json."""
        return asdict(self)


def data_digest(shards: Sequence[ShardRecord], tokenizer: str) -> str:
    """Return the digest of all shards' files, and of the tokenizer they belong to."""
    parts = [tokenizer, *(sorted(shard.sha256.items()) for shard in shards)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def total_left_out(shards: Sequence[ShardRecord], others: Mapping[str, int]) -> dict[str, int]:
    """Return how many records were left out, by reason."""
    return dict(sorted(sum((Counter(shard.left_out) for shard in shards), Counter(others)).items()))


def read_index(folder: Path) -> PreparedIndex:
    """Read the index of a folder.

    Raises:
        DataError: the folder holds no finished data, or the index is damaged or of another format.
    """
    path = folder / INDEX
    if not path.is_file():
        started = folder.is_dir() and any(folder.glob("shard-*"))
        raise DataError(
            "the data is not finished: run the command that prepares it again, and it goes on"
            if started
            else "no prepared data here: expected a folder that `timetrial distill prepare` has made",
            folder,
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise DataError(f"has format {data['format']!r}; expected {FORMAT!r}. Prepare the data anew.", path)
        shards = tuple(ShardRecord.from_json(shard) for shard in data["shards"])
        return PreparedIndex(**{**data, "overlaps": tuple(data["overlaps"]), "shards": shards})
    except (OSError, ValueError, TypeError, KeyError) as cause:
        raise damaged(path, f"it cannot be read ({cause})") from cause


class PreparedData:
    """Documents by number, over all shards."""

    def __init__(self, folder: Path) -> None:
        """Open a folder; sizes are checked, contents by `verify`.

        Raises:
            DataError: the data is not finished, or a file is missing or too short.
        """
        self.folder = folder
        self.index = read_index(folder)
        if data_digest(self.index.shards, self.index.tokenizer_digest) != self.index.digest:
            raise damaged(folder / INDEX, "its digests contradict one another")
        self._shards = [Shard(folder / record.name, record) for record in self.index.shards]
        self._ends = list(accumulate(record.num_documents for record in self.index.shards))
        self.lengths: Lengths = np.concatenate([shard.lengths for shard in self._shards])
        """(D,) int32, the tokens of each document."""

    def document(self, number: int) -> EncodedDocument:
        """Return a document."""
        shard = bisect_right(self._ends, number)
        return self._shards[shard].document(number - (self._ends[shard - 1] if shard else 0))

    def verify(self, progress: ProgressFactory = silent) -> None:
        """Read all files and compare their digests.

        Raises:
            DataError: a file has changed.
        """
        verify_shards(self.folder, self.index.shards, progress)

    def check_tokenizer(self, digest: str, ref: str) -> None:
        """Refuse a model or another data set whose tokenizer is another one.

        Raises:
            UsageError: it is.
        """
        if digest != self.index.tokenizer_digest:
            raise UsageError(
                f"the data in {self.folder} was made with the tokenizer {self.index.request['tokenizer']!r}"
                f" (digest {self.index.tokenizer_digest[:12]}), and {ref!r} has another one ({digest[:12]}): its tokens"
                " would mean other words. Prepare the data with --tokenizer of that model."
            )
