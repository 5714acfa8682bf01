"""What general benchmarks leave in a run folder: one record a metric, and the samples of each task beside them.

lm-eval makes the numbers; nothing here needs it, so a report can be drawn where it is not installed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

SAMPLES_FOLDER = "general"
GENERAL_ENTRY = "general"
"""The entry of config.json that says how a run's general benchmarks were made."""

_LONGEST_NAME = 120  # of a path that is a model's name; file systems take 255

TaskKind = Literal["task", "group"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralResult:
    """One metric of one task, as lm-eval computed it: a line of general.jsonl."""

    model: str
    """The reference, as the user wrote it."""
    task: str
    """lm-eval's name of the task, or of the group."""
    kind: TaskKind = "task"
    """group: aggregated over the tasks it consists of."""
    metric: str
    filter: str
    """lm-eval's name of what was done to the responses first: none, strict-match, ..."""
    value: float | None
    """None if it is not a number."""
    standard_error: float | None
    """None where lm-eval gives none."""
    higher_is_better: bool | None
    num_fewshot: int | None
    """None for a group whose tasks differ."""
    limit: float | None
    """At most so many documents, below 1 such a share of them; None for all."""
    num_docs: int
    lm_eval_version: str
    task_version: str
    task_hash: str
    """sha256 over all documents, prompts and targets: equal hashes, the same questions asked in the same words."""
    chat_template: bool
    wall_s: float
    """Seconds on a monotonic clock for the requests of the whole task, tokenisation included."""
    environment: str
    """Key into environment.json."""
    checkpoint: str
    """sha256 of the checkpoint's files."""

    @property
    def key(self) -> tuple[str, str]:
        """The model and the task: all metrics of the pair are written together."""
        return self.model, self.task


def samples_file(folder: Path, model: str, task: str) -> Path:
    """Return where a run folder keeps what a model answered to each document of a task."""
    return folder / SAMPLES_FOLDER / _file_name(model) / f"{_file_name(task)}.jsonl"


def _file_name(name: str) -> str:
    """Return a name that any file system takes: what no file name may hold is percent-encoded."""
    encoded = quote(name, safe="")
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    return f"{encoded[-_LONGEST_NAME:]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
