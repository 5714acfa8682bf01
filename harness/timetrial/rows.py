"""Read rows of a data file, one at a time: JSON lines, CSV or Parquet, told apart by their content."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jsonlines

from timetrial.error import DataError, closest_match

Format = Literal["json", "csv", "parquet"]

PARQUET_MAGIC = b"PAR1"
"""How a Parquet file begins."""
PARQUET_BATCH = 4
"""Rows of a Parquet file in memory at a time: a row of a completion dump holds hundreds of texts."""


class Row(NamedTuple):
    """One row and where it stands."""

    number: int
    """Line of a text file, row of a Parquet file; from 1."""
    values: Mapping[str, Any]  # Any: whatever a cell may hold


def read_rows(path: Path, columns: Iterable[str], optional: Iterable[str] = ()) -> Iterator[Row]:
    """Yield the rows of a file as they are read; columns that are not named may be there and are left out.

    A column that is missing, or an optional one that seems to be misspelt, is refused at the first row that lacks it.

    Raises:
        DataError: the file cannot be read, is empty, has a line that is no row, or lacks a column.
    """
    required, wanted = tuple(columns), (*columns, *optional)
    is_empty = True
    try:
        for row in _READERS[file_format(path)](path, wanted):
            is_empty = False
            _check_columns(path, row, required, wanted)
            yield row
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise DataError(f"cannot be read ({cause})", path) from cause
    if is_empty:
        raise DataError("the file has no rows", path)


def file_format(path: Path) -> Format:
    """Tell the format of a file from its first bytes.

    Raises:
        DataError: the file is missing, empty, or of none of the formats.
    """
    text = first_bytes(path)
    if text.startswith(PARQUET_MAGIC):
        return "parquet"
    if text.startswith(b"{"):
        return "json"
    if not text.startswith(b"[") and b"," in text.partition(b"\n")[0] and b"\x00" not in text:
        return "csv"
    raise DataError("neither JSON lines nor CSV nor Parquet: expected one object a line, or a table", path)


def first_bytes(path: Path) -> bytes:
    """Return how a file begins, without a byte order mark and white space.

    Raises:
        DataError: the file is missing or empty.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as cause:
        raise DataError(f"cannot be read ({cause.strerror or cause}): give an existing file", path) from cause
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise DataError("the file is empty", path)
    return text


def missing_column(path: Path, line: int | None, name: str, found: Iterable[str]) -> DataError:
    """Return the error for a column that is not there, with the closest one that is."""
    names = sorted(found)
    suggestion = closest_match(name, names)
    hint = f"; did you mean {suggestion!r}?" if suggestion else "."
    return DataError(f"no column {name!r}{hint} The file has: {', '.join(names) or 'none'}.", path, line)


def _check_columns(path: Path, row: Row, required: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    if row.values.keys() >= set(wanted):
        return
    for name in required:
        if name not in row.values:
            raise missing_column(path, row.number, name, row.values)
    # Only a name that begins alike is taken for a slip: agg_scores is no misspelt scores.
    unused = [name for name in row.values if name not in wanted]
    for name in wanted:
        if name not in row.values and (misspelt := closest_match(name, unused)) and misspelt[:3] == name[:3]:
            raise DataError(f"no column {name!r}, but there is {misspelt!r}: rename or remove it", path, row.number)


def _json_rows(path: Path, wanted: tuple[str, ...]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                with jsonlines.Reader([line]) as reader:
                    yield Row(number, reader.read(type=dict))
            except jsonlines.InvalidLineError as cause:
                raise DataError(f"not a JSON object ({cause.args[0]})", path, number) from cause


def _csv_rows(path: Path, wanted: tuple[str, ...]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for values in reader:
            if None in values or None in values.values():
                raise DataError(f"expected {len(reader.fieldnames or ())} cells", path, reader.line_num)
            yield Row(reader.line_num, values)


def _parquet_rows(path: Path, wanted: tuple[str, ...]) -> Iterator[Row]:
    import pyarrow  # slow to import, and only this format needs it
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            read = [name for name in names if name in wanted]
            unread = dict.fromkeys(name for name in names if name not in wanted)
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_BATCH, columns=read):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, {**unread, **values})
    except pyarrow.ArrowException as cause:
        raise DataError(f"not a readable Parquet file ({cause})", path) from cause


_READERS: dict[Format, Callable[[Path, tuple[str, ...]], Iterator[Row]]] = {
    "json": _json_rows,
    "csv": _csv_rows,
    "parquet": _parquet_rows,
}
