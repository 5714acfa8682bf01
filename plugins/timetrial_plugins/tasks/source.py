"""Where the problems of a public data set come from: a file given, the data folder, or the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from timetrial.config import data_file
from timetrial.error import DataError
from timetrial.rows import Row, missing_column, read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A data set: its name on the Hub, and the name of its file in the data folder."""

    task: str
    hub_id: str
    hub_config: str | None
    split: str
    file_name: str

    def rows(self, path: Path | None, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
        """Yield the rows of the file given, else of the data folder's file, else of the data set on the Hub.

        Raises:
            DataError: a column is missing, a line is bad, or nothing can be read; says what to give.
            UsageError: the data folder is set, but lacks the file.
        """
        local = path if path is not None else data_file(self.file_name)
        return self._hub_rows(columns) if local is None else read_rows(local, columns, optional)

    def _hub_rows(self, columns: Sequence[str]) -> Iterator[Row]:
        import datasets  # slow to import

        place = f"Hub data set {self.hub_id}"
        try:
            table = datasets.load_dataset(self.hub_id, self.hub_config, split=self.split)
        except Exception as cause:  # the library raises errors of a dozen unrelated kinds when it cannot download
            reason = str(cause).strip().partition("\n")[0]
            raise DataError(
                f"cannot be fetched ({type(cause).__name__}: {reason}). Without internet, give its file with "
                f"--data {self.task}=FILE, or set TIMETRIAL_DATA to a folder that holds {self.file_name}.",
                place,
            ) from cause
        for name in columns:
            if name not in table.column_names:
                raise missing_column(Path(place), None, name, table.column_names)
        for number, values in enumerate(table, 1):
            yield Row(number, values)


def text_cell(path: Path | str, row: Row, column: str) -> str:
    """Return a cell that must hold text.

    Raises:
        DataError: it holds something else, or nothing.
    """
    value = row.values[column]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"column {column!r} holds {value!r:.60}: expected text", path, row.number)
    return value
