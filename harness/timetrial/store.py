"""A run folder on disk: append-only JSON lines, one writer at a time, safe against being killed at any moment.

A line is written whole, with its newline, in one call; so the only damage a killed writer leaves is a last line
without a newline. Opening the folder for writing cuts it off, and readers skip it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Generic, Literal, TypeVar
from urllib.parse import quote

import filelock
import jsonlines

from timetrial.error import DataError, RunError, RunLockedError
from timetrial.general_record import GeneralResult
from timetrial.record import (
    Completion,
    Count,
    EndToEnd,
    Grade,
    Problem,
    ScoreTiming,
    StepScores,
    Timing,
    from_json,
    to_json,
)

Record = TypeVar("Record")

_ENCODER = json.JSONEncoder(ensure_ascii=False)

FILES: dict[type[Any], str] = {  # Any: each key is one of the record classes
    Completion: "samples.jsonl",
    Grade: "grades.jsonl",
    StepScores: "scores.jsonl",
    Timing: "timings.jsonl",
    ScoreTiming: "score_timings.jsonl",
    EndToEnd: "end_to_end.jsonl",
    Count: "counts.jsonl",
    GeneralResult: "general.jsonl",
}


class Appender(Generic[Record]):
    """Appends records of one kind; each is in the operating system's hands when `append` returns."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path

    def append(self, records: Iterable[Record]) -> None:
        """Write the records in one call, a line each.

        Raises:
            RunError: the disk is full or the file cannot be written; what was written before is kept.
        """
        lines = "".join(f"{_ENCODER.encode(to_json(record))}\n" for record in records)
        try:
            self._file.write(lines.encode("utf-8"))
            self._file.flush()
        except OSError as cause:
            raise _cannot_write(self._path, cause) from cause


class RunFolder:
    """The files of one run. Reading needs no lock; writing happens inside `locked()`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder if needed and hold it against other writers; repair torn last lines.

        Raises:
            RunLockedError: another process is writing.
            RunError: the folder cannot be created or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunLockedError(
                f"{self.path} is being written by another timetrial process: wait for it, or use another --out"
            ) from None
        except OSError as cause:
            raise _cannot_write(self.path, cause) from cause
        try:
            for name in FILES.values():
                _cut_torn_line(self.path / name)
            yield
        finally:
            lock.release()

    @contextmanager
    def appending(self, kind: type[Record]) -> Iterator[Appender[Record]]:
        """Open the file of a kind of record for appending; it reaches the disk on leaving."""
        with _open_appender(self.path / FILES[kind], "ab") as appender:
            yield appender

    @contextmanager
    def replacing(self, kind: type[Record]) -> Iterator[Appender[Record]]:
        """Write the file of a kind of record anew: the old one stands until, on leaving, the new one is whole on disk.

        If the block raises, or the process is killed in it, the old file is untouched.
        """
        path = self.path / FILES[kind]
        beside = path.with_suffix(".jsonl.new")
        try:
            with _open_appender(beside, "wb") as appender:
                yield appender
            try:
                beside.replace(path)
            except OSError as cause:
                raise _cannot_write(path, cause) from cause
        finally:
            beside.unlink(missing_ok=True)

    def has(self, kind: type[Record]) -> bool:
        """Say whether there is a file for that kind of record."""
        return (self.path / FILES[kind]).is_file()

    def read(self, kind: type[Record]) -> Iterator[Record]:
        """Yield the records of a kind in file order, one at a time; nothing if there is no file.

        Raises:
            DataError: a line before the last is no such record; names the line.
        """
        path = self.path / FILES[kind]
        if not path.is_file():
            return
        with path.open("rb") as file:
            yield from (record for _, record in _records(file, kind, path))

    def offsets(self, kind: type[Record]) -> Iterator[tuple[int, Record]]:
        """Yield the records of a kind with the byte offset of each, for `read_at`."""
        path = self.path / FILES[kind]
        if not path.is_file():
            return
        with path.open("rb") as file:
            yield from _records(file, kind, path)

    def read_loosely(self, kind: type[Record]) -> Iterator[dict[str, Any]]:  # Any: JSON values
        """Yield what the lines of a kind of record hold, whatever their fields; lines that cannot be read are left out.

        For records of other versions of timetrial, where nothing depends on having all of them.
        """
        path = self.path / FILES[kind]
        if not path.is_file():
            return
        with path.open("rb") as file:
            for line in _whole_lines(file):
                try:
                    data = json.loads(line)
                except ValueError:
                    continue
                if isinstance(data, dict):
                    yield data

    def count(self, kind: type[Record]) -> int:
        """Return how many lines the file of a kind of record has, without reading what they say."""
        path = self.path / FILES[kind]
        if not path.is_file():
            return 0
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))

    def read_at(self, kind: type[Record], offsets: Iterable[int]) -> list[Record]:
        """Return the records that start at the offsets, in the order given."""
        records = []
        with (self.path / FILES[kind]).open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                records.append(from_json(kind, json.loads(file.readline())))
        return records

    def remove(self, kind: type[Record]) -> None:
        """Delete the file of a kind of record, so that its stage starts over."""
        (self.path / FILES[kind]).unlink(missing_ok=True)

    def write_json(self, name: str, data: Any) -> None:  # Any: whatever JSON can hold
        """Write a whole JSON file: the old one or the new one is there at any moment, never half of one."""
        path = self.path / name
        temporary = path.with_suffix(".json.new")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(data, file, indent=2, ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as cause:
            raise _cannot_write(path, cause) from cause

    def read_json(self, name: str) -> Any:  # Any: whatever JSON can hold
        """Return the content of a JSON file, or None if there is none.

        Raises:
            DataError: it is not JSON.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as cause:
            raise DataError(f"not valid JSON ({cause})", path) from cause


@contextmanager
def _open_appender(path: Path, mode: Literal["ab", "wb"]) -> Iterator[Appender[Any]]:  # Any: records of one kind
    try:
        file = path.open(mode)
    except OSError as cause:
        raise _cannot_write(path, cause) from cause
    with file:
        yield Appender(file, path)
        try:
            os.fsync(file.fileno())
        except OSError as cause:
            raise _cannot_write(path, cause) from cause


def problems_file(task: str) -> str:
    """Return the name of the file that holds a task's problems; what no file name may hold is percent-encoded."""
    return f"problems-{quote(task, safe='')}.jsonl"


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write problems to a JSON-lines file of their own, replacing it."""
    with jsonlines.open(path, "w") as writer:
        writer.write_all(to_json(problem) for problem in problems)


def _records(file: BinaryIO, kind: type[Record], path: Path) -> Iterator[tuple[int, Record]]:
    reader = jsonlines.Reader(line.decode("utf-8") for line in _whole_lines(file))
    offset, number = 0, 0
    while True:
        number += 1
        try:
            record = from_json(kind, reader.read(type=dict))
        except EOFError:
            return
        except ValueError as cause:  # jsonlines.InvalidLineError is one
            raise DataError(f"{cause}{_cure(kind, path)}", path, number) from cause
        yield offset, record
        offset = file.tell()


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    # readline rather than iteration: iteration reads ahead, and then tell() is not the next line's offset.
    while (line := file.readline()).endswith(b"\n"):
        yield line


def _cure(kind: type[Any], path: Path) -> str:  # Any: a record class
    if kind is not Grade:
        return ""
    return f". Run `timetrial grade {path.parent}` to make all grades anew from the stored texts; nothing is lost"


def _cut_torn_line(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def _cannot_write(path: Path, cause: OSError) -> RunError:
    return RunError(
        f"cannot write {path}: {cause.strerror or cause}. Everything written before is kept; "
        "free space or choose another --out, then run the same command again to continue"
    )
