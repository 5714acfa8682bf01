"""Local files as the splits of a data set: no download, and no cache of the library's is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetrial.error import DataError
from timetrial.rows import file_format, read_rows

if TYPE_CHECKING:
    import datasets

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")


def local_splits(place: Path, split: str) -> datasets.DatasetDict:
    """Return what a file holds as that split, or what a folder holds as the splits that its files are named by.

    Raises:
        DataError: a file cannot be read, or the folder lacks the split.
    """
    import datasets  # slow to import

    files = {split: place}
    if place.is_dir():
        files = {path.stem: path for path in sorted(place.iterdir()) if path.suffix in SUFFIXES}
        if split not in files:
            found = ", ".join(files) or "no data file"
            raise DataError(f"has no {split}.jsonl, whose rows are the problems; it holds {found}", place)
    return datasets.DatasetDict({name: datasets.Dataset.from_list(_rows(path)) for name, path in files.items()})


def _rows(path: Path) -> list[dict[str, Any]]:  # Any: cells of a data set
    return [dict(row.values) for row in read_rows(path, _columns(path))]


def _columns(path: Path) -> Sequence[str]:
    """Return the columns to read: of Parquet files all, by name; of others all that are there."""
    if file_format(path) != "parquet":
        return ()
    import pyarrow.parquet

    names: list[str] = pyarrow.parquet.read_schema(path).names
    return names
