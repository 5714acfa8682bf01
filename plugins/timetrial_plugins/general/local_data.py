"""Data sets that lie in a folder, in place of those that lm-eval's task definitions name.

DIR/<data set>/ is a copy of the data set's repository, or DIR/<data set>/<configuration>/ holds a file for each split:
test.jsonl, dev.jsonl, validation.parquet, ... A data set without configurations has them in DIR/<data set>/.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from timetrial.error import DataError, UsageError

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")


@contextmanager
def local_data(folder: Path | None) -> Iterator[None]:
    """Read data sets from `folder` where it has them, while the block runs; None changes nothing.

    Raises:
        UsageError: there is no such folder.
    """
    if folder is None:
        yield
        return
    if not folder.is_dir():
        raise UsageError(f"--data-dir {folder} is no folder: expected one with a folder for each data set")
    import datasets

    fetch = datasets.load_dataset

    def load(path: str, name: str | None = None, **options: Any) -> Any:  # Any: as data sets are
        place = folder / path
        if not place.is_dir():
            return fetch(path, name, **options)
        splits = _split_files(place if name is None else place / name) or _split_files(place)
        return _read(splits) if splits else fetch(str(place), name, **options)

    # Definitions name their data in YAML, in Python and inside groups; all of them go through this one function.
    datasets.load_dataset = load
    try:
        yield
    finally:
        datasets.load_dataset = fetch


def where_to_put(path: str, name: str | None) -> str:
    """Say what to put where, so that a data set is found."""
    return f"DIR/{'/'.join(filter(None, (path, name)))}/<split>.jsonl (or .parquet, .csv)"


def _split_files(folder: Path) -> dict[str, Path]:
    """Return the file of each split that lies directly in a folder."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {file.stem: file for file in files if file.suffix in SUFFIXES and file.is_file()}


def _read(splits: dict[str, Path]) -> Any:  # Any: a datasets.DatasetDict
    import datasets

    return datasets.DatasetDict({split: datasets.Dataset(_table(file)) for split, file in splits.items()})


def _table(file: Path) -> Any:  # Any: a pyarrow.Table
    """Return a file's rows, without the copy that `datasets` would write into its cache."""
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    try:
        if file.suffix == ".parquet":
            return pyarrow.parquet.read_table(file)
        return pyarrow.csv.read_csv(file) if file.suffix == ".csv" else pyarrow.json.read_json(file)
    except pyarrow.ArrowException as cause:
        raise DataError(f"not a table of one row a line ({cause})", file) from cause
