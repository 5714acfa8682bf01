"""A folder of labelled solutions: parts of whole problems while it is being made, one file and an index at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from timetrial.error import DataError
from timetrial_distillation.output import write_json
from timetrial_distillation.rewards.labels import LabelledSolution
from timetrial_registry.digest import file_digest

LABELS = "labels.jsonl"
INDEX = "index.json"
FORMAT = "timetrial-step-labels/1"
_PARTS = "parts"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCounts:
    """How many there are of what."""

    problems: int = 0
    solutions: int = 0
    right_solutions: int = 0
    steps: int = 0
    right_steps: int = 0
    """Steps whose hard label is "+"."""
    rollouts: int = 0
    """Completions that were sampled to label steps; a prefix that solutions share counts once."""
    failed: int = 0
    """Solutions that could not be labelled: the generation failed, or the text has no step."""

    def __add__(self, other: LabelCounts) -> LabelCounts:
        """Add field by field."""
        return LabelCounts(**{name: value + asdict(other)[name] for name, value in asdict(self).items()})


class LabelFolder:
    """The folder of one request; a part is there as a whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self._folder = folder

    @property
    def is_finished(self) -> bool:
        """Whether everything that was asked for is there."""
        return (self._folder / INDEX).exists()

    def has_part(self, number: int) -> bool:
        """Whether a part is there."""
        return self._part(number).exists()

    def write_part(self, number: int, solutions: Iterable[LabelledSolution], counts: LabelCounts) -> None:
        """Store the solutions of a part."""
        lines = [json.dumps({"counts": asdict(counts)}), *(json.dumps(item.to_json()) for item in solutions)]
        path = self._part(number)
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def finish(self, num_parts: int, described: Mapping[str, Any]) -> Mapping[str, Any]:  # Any: JSON
        """Join the parts, write the index, and return it."""
        counts = LabelCounts()
        partial = self._folder / f"{LABELS}.partial"
        with partial.open("w", encoding="utf-8") as file:
            for number in range(num_parts):
                head, *lines = self._part(number).read_text(encoding="utf-8").splitlines(keepends=True)
                counts += LabelCounts(**json.loads(head)["counts"])
                file.writelines(lines)
        partial.replace(self._folder / LABELS)
        index = {
            "format": FORMAT,
            "sha256": file_digest(self._folder / LABELS),
            "counts": asdict(counts),
            **described,
        }
        write_json(self._folder / INDEX, index)
        for number in range(num_parts):
            self._part(number).unlink()
        (self._folder / _PARTS).rmdir()
        return index

    def index(self) -> Mapping[str, Any]:  # Any: JSON
        """Return the index of a finished folder.

        Raises:
            DataError: it is damaged.
        """
        return check_finished(self._folder)

    def _part(self, number: int) -> Path:
        return self._folder / _PARTS / f"{number:06d}.jsonl"


def check_finished(folder: Path) -> Mapping[str, Any]:  # Any: JSON
    """Return the index of a folder of labels.

    Raises:
        DataError: the folder is no finished folder of labels, or was changed.
    """
    if not (folder / INDEX).is_file() or not (folder / LABELS).is_file():
        raise DataError("expected a finished folder of `timetrial distill label-steps`: run that command again", folder)
    try:
        index: Mapping[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        is_whole = index["format"] == FORMAT and index["sha256"] == file_digest(folder / LABELS)
    except (OSError, ValueError, TypeError, KeyError) as cause:
        raise DataError(f"cannot be read ({cause}): delete the folder and make the labels anew", folder) from cause
    if not is_whole:
        raise DataError(f"{LABELS} is not what was written: delete the folder and make the labels anew", folder)
    return index
