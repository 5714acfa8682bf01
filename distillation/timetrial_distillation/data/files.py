"""Records of files on this machine: Parquet, JSON lines, or one JSON array, told apart by their content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

from timetrial.error import DataError, UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial.rows import PARQUET_MAGIC, first_bytes, missing_column
from timetrial_distillation.data.records import Json, Record
from timetrial_registry.digest import file_digest

PARQUET_BATCH = 1024
"""Rows of a Parquet file in memory at a time."""
ARRAY_CHUNK = 1 << 20
"""Characters of a JSON array read at a time."""

Format = Literal["parquet", "lines", "array"]
Reader = Callable[[Path, int, Sequence[str]], Iterator[tuple[int, Json]]]
"""From a path, a number of records to skip and the columns wanted to (line or row, values)."""

_GAP = re.compile(r"[\s,]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSource:
    """Files, read one after another."""

    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    """The sha256 of each."""
    licence: str | None = None

    @property
    def description(self) -> Json:
        """Names and digests: where the files lie does not count."""
        files = zip(self.paths, self.digests, strict=True)
        return {"kind": "files", "files": [{"name": path.name, "sha256": digest} for path, digest in files]}

    def num_records(self) -> int | None:
        """Return the number of rows, if all files are Parquet."""
        if any(file_format(path) != "parquet" for path in self.paths):
            return None
        return sum(_parquet_length(path) for path in self.paths)

    def columns(self) -> tuple[str, ...]:
        """Return the columns of the first file."""
        path = self.paths[0]
        if file_format(path) == "parquet":
            return _parquet_columns(path)
        first = next(_READERS[file_format(path)](path, 0, ()), None)
        if first is None:
            raise DataError("the file has no records", path)
        return tuple(first[1])

    def records(self, start: int, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the records of all files; lines and row groups before `start` are counted, not decoded."""
        position = 0
        for path in self.paths:
            kind = file_format(path)
            skip = max(0, start - position)
            if skip and (length := _COUNTERS[kind](path)) <= skip:
                position += length
                continue
            position += skip
            try:
                for number, values in _READERS[kind](path, skip, columns):
                    yield Record(position, path.name, number, values)
                    position += 1
            except (OSError, UnicodeDecodeError) as cause:
                raise DataError(f"cannot be read ({cause})", path) from cause


def open_files(patterns: Sequence[str], progress: ProgressFactory = silent) -> FileSource:
    """Find the files that names and glob patterns mean, and take their digests.

    Raises:
        UsageError: a pattern matches nothing, a name is a folder, or a file is named twice.
        DataError: a file cannot be read, or is of none of the formats.
    """
    paths = [path for pattern in patterns for path in _expand(pattern)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise UsageError(f"the source {twice} is named twice: its documents would count double. Name it once.")
    digests = []
    with progress("reading digests of the source", len(paths)) as advance:
        for path in paths:
            file_format(path)
            digests.append(file_digest(path))
            advance(1)
    return FileSource(paths=tuple(paths), digests=tuple(digests))


def file_format(path: Path) -> Format:
    """Tell the format of a file from its first bytes.

    Raises:
        DataError: the file is missing, empty, or of none of the formats.
    """
    text = first_bytes(path)
    if text.startswith(PARQUET_MAGIC):
        return "parquet"
    if text[:1] in (b"{", b"["):
        return "lines" if text.startswith(b"{") else "array"
    raise DataError("neither Parquet nor JSON: expected one object a line, or an array; decompress it first", path)


def _expand(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        raise UsageError(f"the source {pattern} is a folder: name files, or a pattern in quotes, '{path}/*.parquet'")
    if path.exists():
        return [path]
    found = sorted(p for p in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if p.is_file())
    if not found:
        raise UsageError(f"no source at {pattern!r}: expected a file, a pattern of files, or a Hub id (org/name)")
    return found


def _line_records(path: Path, skip: int, columns: Sequence[str]) -> Iterator[tuple[int, Json]]:
    with path.open(encoding="utf-8-sig") as file:
        lines = ((number, line) for number, line in enumerate(file, 1) if not line.isspace())
        for number, line in islice(lines, skip, None):
            try:
                values = json.loads(line)
            except ValueError as cause:
                raise DataError(f"not JSON ({cause})", path, number) from cause
            yield number, _as_object(values, path, number)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(not line.isspace() for line in file)


def _array_records(path: Path, skip: int, columns: Sequence[str]) -> Iterator[tuple[int, Json]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, values in islice(enumerate(_array_items(file, path), 1), skip, None):
            yield number, _as_object(values, path, number)


def _array_items(file: TextIO, path: Path) -> Iterator[Any]:  # Any: JSON
    """Decode the items of an array as they are read: a file of gigabytes is never in memory whole."""
    decoder = json.JSONDecoder()
    text = file.read(ARRAY_CHUNK)
    at = text.index("[") + 1
    while True:
        gap = _GAP.match(text, at)
        assert gap is not None, "it matches the empty string"
        at = gap.end()
        if text.startswith("]", at):
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError as cause:  # damaged, or not read to its end
            text, at = text[at:], 0
            more = file.read(max(ARRAY_CHUNK, len(text)))
            if not more:
                raise DataError(f"not a JSON array ({cause})", path) from cause
            text += more
            continue
        yield value


def _count_items(path: Path) -> int:
    with path.open(encoding="utf-8-sig") as file:
        return sum(1 for _ in _array_items(file, path))


def _as_object(values: Any, path: Path, number: int) -> Json:  # Any: JSON
    if not isinstance(values, dict):
        raise DataError(f"holds {json.dumps(values)[:60]}: expected an object", path, number)
    return values


def _parquet_records(path: Path, skip: int, columns: Sequence[str]) -> Iterator[tuple[int, Json]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for name in columns:
                if name not in file.schema_arrow.names:
                    raise missing_column(path, None, name, file.schema_arrow.names)
            first, groups = _groups_from(file, skip)
            number = first
            for batch in file.iter_batches(PARQUET_BATCH, row_groups=groups, columns=list(columns)):
                for values in batch.to_pylist():
                    number += 1
                    if number > skip:
                        yield number, values
    except pyarrow.ArrowException as cause:
        raise DataError(f"not a readable Parquet file ({cause})", path) from cause


def _groups_from(file: Any, skip: int) -> tuple[int, list[int]]:  # Any: pyarrow ships no types
    """Return the number of rows before the row group that holds row `skip`, and that group and all behind it."""
    first = 0
    for group in range(file.num_row_groups):
        length = file.metadata.row_group(group).num_rows
        if first + length > skip:
            return first, list(range(group, file.num_row_groups))
        first += length
    return first, []


def _parquet_length(path: Path) -> int:
    return int(_parquet_file(path).metadata.num_rows)


def _parquet_columns(path: Path) -> tuple[str, ...]:
    return tuple(_parquet_file(path).schema_arrow.names)


def _parquet_file(path: Path) -> Any:  # Any: pyarrow ships no types
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            return file
    except pyarrow.ArrowException as cause:
        raise DataError(f"not a readable Parquet file ({cause})", path) from cause


_READERS: dict[Format, Reader] = {"parquet": _parquet_records, "lines": _line_records, "array": _array_records}
_COUNTERS: dict[Format, Callable[[Path], int]] = {
    "parquet": _parquet_length,
    "lines": _count_lines,
    "array": _count_items,
}
