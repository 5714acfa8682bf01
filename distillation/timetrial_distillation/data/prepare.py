"""Records to shards of tokens, once, to be stopped and resumed at any time.

What a finished shard holds is a function of the request, so a run that was killed goes on behind its last finished
shard and ends with the files of a run that was not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import NamedTuple

from timetrial.error import DataError, RunError, UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial_distillation.data.adapters import UnfitError
from timetrial_distillation.data.claim import claimed
from timetrial_distillation.data.documents import EncodedDocument
from timetrial_distillation.data.pipeline import FILTERED, OVERLAPPING, Outcome, Pipeline
from timetrial_distillation.data.prepared import (
    FORMAT,
    INDEX,
    PreparedData,
    PreparedIndex,
    data_digest,
    total_left_out,
)
from timetrial_distillation.data.records import Json
from timetrial_distillation.data.shards import (
    ShardRecord,
    ShardWriter,
    document_key,
    read_keys,
    read_shard_record,
    shard_name,
    verify_shards,
)
from timetrial_distillation.output import write_json

SHARD_TOKENS = 1 << 26
DUPLICATE = "duplicate"
TOLERATED = frozenset({FILTERED, OVERLAPPING, "empty", "no answer"})
"""Reasons that never end the work: the user asked for it, or there is nothing to learn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareConfig:
    """What is kept of the documents, and how it is stored."""

    tokenizer: str
    """As the user names it."""
    limit: int | None = None
    """Documents after which to stop."""
    drop_duplicates: bool = False
    """Leave out documents whose tokens are those of an earlier one."""
    drop_unfit: bool = False
    """Leave out and count records that make no document, where otherwise the first one ends the work."""
    shard_tokens: int = SHARD_TOKENS
    """A shard is full when it has so many tokens or more; what is lost at most when the process is killed."""
    licence: str | None = None
    """What the user says of the source's licence."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no data.

        Raises:
            UsageError: names the field.
        """
        for name in ("limit", "shard_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; expected 1 or more")


class PrepareProgress(NamedTuple):
    """How far the work has come, shards of earlier runs included."""

    num_records: int
    num_documents: int
    num_tokens: int


def prepare(
    pipeline: Pipeline,
    config: PrepareConfig,
    out: Path,
    *,
    progress: ProgressFactory = silent,
    report: Callable[[PrepareProgress], None] = lambda progress: None,
) -> PreparedIndex:
    """Write the prepared data to `out`, or go on with what is there; finished data is verified and left as it is.

    `report` is called at the start and after every batch, `progress` opens a bar for verifying.

    Raises:
        UsageError: no adapter fits the source, or `out` holds something else.
        ConfigMismatchError: `out` was begun with another request; shows the difference.
        RunLockedError: another process writes to `out`.
        RunError: the disk is full, or `out` cannot be written to.
        DataError: a record cannot be read or makes no document, nothing is left, or what is in `out` is damaged.
    """
    request = {
        **pipeline.description(),
        "tokenizer": config.tokenizer,
        "limit": config.limit,
        "drop_duplicates": config.drop_duplicates,
        "shard_tokens": config.shard_tokens,
        "licence": config.licence,
    }
    try:
        with claimed(out, request):
            if (out / INDEX).exists():
                data = PreparedData(out)
                data.verify(progress)
                return data.index
            with closing(_Work(config, out, _finished_shards(out, progress))) as work:
                report(work.progress)
                for batch in pipeline.outcomes(work.progress.num_records):
                    is_enough = not work.take(batch)
                    report(work.progress)
                    if is_enough:
                        break
                return work.finish(pipeline, request)
    except OSError as cause:
        raise RunError(
            f"cannot write to {out}: {cause}. Make room or mend it, and run the command again: finished shards stay."
        ) from cause


class _Work:
    """The shards so far, and the one that is being filled."""

    def __init__(self, config: PrepareConfig, out: Path, finished: list[ShardRecord]) -> None:
        self._config = config
        self._out = out
        self._shards = finished
        self._writer: ShardWriter | None = None
        self._left_out: Counter[str] = Counter()  # since the last finished shard, as the next
        self._overlaps: list[Json] = []
        self._keys: set[int] = set()
        if config.drop_duplicates:
            self._keys.update(key for shard in self._shards for key in read_keys(out / shard.name))
        self.progress = PrepareProgress(
            self._shards[-1].next_record if self._shards else 0,
            sum(shard.num_documents for shard in self._shards),
            sum(shard.num_tokens for shard in self._shards),
        )

    def take(self, batch: list[Outcome]) -> bool:
        """Store the documents of a batch; return whether more are wanted."""
        for outcome in batch:
            if not self._wants_more:
                break
            records, documents, tokens = self.progress
            document = self._judge(outcome)
            if document is not None:
                self._store(document)
                documents, tokens = documents + 1, tokens + len(document.tokens)
            self.progress = PrepareProgress(records + 1, documents, tokens)
            if self._writer is not None and self._writer.num_tokens >= self._config.shard_tokens:
                self._finish_shard()
        return self._wants_more

    def finish(self, pipeline: Pipeline, request: Json) -> PreparedIndex:
        """Close the last shard and write the index, which makes the data finished."""
        if self._writer is not None:
            self._finish_shard()
        left_out = total_left_out(self._shards, self._left_out)
        if not self._shards:
            reasons = ", ".join(f"{number:,} {reason}" for reason, number in left_out.items()) or "there are none"
            raise DataError(f"no document is left of {self.progress.num_records:,} records ({reasons})", self._out)
        index = PreparedIndex(
            format=FORMAT,
            digest=data_digest(self._shards, pipeline.encoder.digest),
            request=request,
            tokenizer_digest=pipeline.encoder.digest,
            template_digest=pipeline.encoder.template_digest,
            vocab_size=pipeline.encoder.vocab_size,
            licence=self._config.licence or pipeline.source.licence,
            num_records=self.progress.num_records,
            num_documents=self.progress.num_documents,
            num_tokens=self.progress.num_tokens,
            num_supervised=sum(shard.num_supervised for shard in self._shards),
            left_out=left_out,
            overlaps=(*(item for shard in self._shards for item in shard.overlaps), *self._overlaps),
            shards=tuple(self._shards),
        )
        write_json(self._out / INDEX, index.to_json())
        return index

    @property
    def _wants_more(self) -> bool:
        return self.progress.num_documents != self._config.limit

    def close(self) -> None:
        """Remove a shard that is not finished: what broke the work off is to be mended first."""
        if self._writer is not None:
            self._writer.discard()

    def _judge(self, outcome: Outcome) -> EncodedDocument | None:
        """Return the document to be stored, or count why there is none."""
        result, record = outcome.result, outcome.record
        if outcome.overlap is not None:
            self._overlaps.append({"record": record.position, **outcome.overlap._asdict()})
        if isinstance(result, UnfitError):
            if result.kind not in TOLERATED and not self._config.drop_unfit:
                remedy = "Mend the record, or leave out and count all such records by --drop-unfit."
                raise DataError(f"{result}. {remedy}", record.file, record.number)
            self._left_out[result.kind] += 1
            return None
        if self._config.drop_duplicates:
            key = document_key(result)
            if key in self._keys:
                self._left_out[DUPLICATE] += 1
                return None
            self._keys.add(key)
        return result

    def _store(self, document: EncodedDocument) -> None:
        if self._writer is None:
            self._writer = ShardWriter(self._out, len(self._shards), has_keys=self._config.drop_duplicates)
        self._writer.add(document)

    def _finish_shard(self) -> None:
        assert self._writer is not None, "there is a shard to finish"
        shard = self._writer.finish(self.progress.num_records, self._left_out, tuple(self._overlaps))
        self._shards.append(shard)
        self._writer, self._left_out, self._overlaps = None, Counter(), []


def _finished_shards(out: Path, progress: ProgressFactory) -> list[ShardRecord]:
    """Return the shards of earlier runs, after verifying them.

    Raises:
        DataError: one is damaged, or missing among others.
    """
    paths = list(takewhile(Path.is_dir, (out / shard_name(number) for number in count())))
    if len(paths) != len([path for path in out.glob("shard-*") if path.suffix == ""]):
        raise DataError(f"a shard is missing behind {len(paths)} others: delete the folder and begin again", out)
    shards = [read_shard_record(path) for path in paths]
    if shards:
        verify_shards(out, shards, progress)
    return shards
