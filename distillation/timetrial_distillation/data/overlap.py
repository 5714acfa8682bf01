"""Overlap of training data with test problems: runs of words that both contain.

A word is a run of letters or of digits, lower case. A problem shorter than the run counts as one run of its own length,
down to MIN_WORDS; shorter ones are too common to mean anything, and are counted as not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from timetrial.error import DataError
from timetrial_distillation.data.files import open_files
from timetrial_distillation.data.records import Json

QUESTION_COLUMNS = ("problem", "question", "prompt", "text")
"""Where a test file has its problems: the first of these that is there."""
DEFAULT_RUN = 13
"""Words; the length that language models' reports have used most since GPT-3 (Brown et al. 2020, appendix C)."""
MIN_WORDS = 8

_WORD = re.compile(r"[^\W\d_]+|\d+")


class Overlap(NamedTuple):
    """A run of words that a document shares with a test problem."""

    file: str
    number: int
    """Line or row of the test problem."""
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TestProblems:
    """The runs of words of all test problems, to be looked for."""

    runs: dict[str, Overlap]
    lengths: tuple[int, ...]
    """Of the runs, in words."""
    description: tuple[Json, ...]
    """Per file: name, digest, column, length of the runs, problems, and how many were too short to be checked."""
    _known: frozenset[str] = field(default_factory=frozenset)
    """All words of the runs: whatever contains another one is no run."""

    def find(self, text: str) -> Overlap | None:
        """Return the first run that `text` contains."""
        words = _words(text)
        for length in self.lengths:
            end = length
            while end <= len(words):
                if words[end - 1] not in self._known:
                    end += length  # no run contains this word: the next candidate begins behind it
                    continue
                found = self.runs.get(" ".join(words[end - length : end]))
                if found is not None:
                    return found
                end += 1
        return None


def read_test_problems(paths: Sequence[Path], run: int = DEFAULT_RUN) -> TestProblems:
    """Read the problems of test files: Parquet or JSON with a column problem, question, prompt or text.

    Raises:
        UsageError: a file does not exist.
        DataError: a file cannot be read, or has none of the columns.
    """
    runs: dict[str, Overlap] = {}
    descriptions = []
    for path in paths:
        source = open_files([str(path)])
        column = next((name for name in QUESTION_COLUMNS if name in source.columns()), None)
        if column is None:
            expected, found = ", ".join(QUESTION_COLUMNS), ", ".join(source.columns())
            raise DataError(f"no test problems: expected a column {expected}; the file has {found}", path)
        num_problems = num_short = 0
        for record in source.records(0, [column]):
            words = _words(str(record.values.get(column, "")))
            num_problems += 1
            num_short += len(words) < min(MIN_WORDS, run)
            for text in _runs(words, run):
                runs.setdefault(text, Overlap(record.file, record.number, text))
        (described,) = source.description["files"]
        counts = {"problems": num_problems, "too_short": num_short}
        descriptions.append({**described, "column": column, "run_words": run, **counts})
    split = [text.split() for text in runs]
    return TestProblems(
        runs=runs,
        lengths=tuple(sorted({len(words) for words in split}, reverse=True)),
        description=tuple(descriptions),
        _known=frozenset(word for words in split for word in words),
    )


def _runs(words: Sequence[str], run: int) -> Iterator[str]:
    length = min(run, len(words))
    if length >= min(MIN_WORDS, run):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
