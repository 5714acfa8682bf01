"""MATH-500: 500 problems of the MATH benchmark, graded by level, with the paper's system prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from timetrial.error import DataError
from timetrial.record import Problem
from timetrial.rows import Row
from timetrial_plugins.tasks.chat_task import ChatTask
from timetrial_plugins.tasks.source import Source, text_cell

NAME = "math-500"
MAX_TOKENS = 2048
SOURCE = Source(task=NAME, hub_id="HuggingFaceH4/MATH-500", hub_config=None, split="test", file_name="math500.jsonl")
COLUMNS = ("problem", "answer", "unique_id")
OPTIONAL = ("level", "subject")

# The evaluation prompt of Llama, as the paper uses it, word for word.
SYSTEM_PROMPT = (
    "Solve the following math problem efficiently and clearly:\n\n"
    "- For simple problems (2 steps or fewer):\nProvide a concise solution with minimal explanation.\n\n"
    "- For complex problems (3 steps or more):\nUse this step-by-step format:\n\n"
    "## Step 1: [Concise description]\n[Brief explanation and calculations]\n\n"
    "## Step 2: [Concise description]\n[Brief explanation and calculations]\n\n"
    "...\n\n"
    "Regardless of the approach, always conclude with:\n\n"
    "Therefore, the final answer is: $\\boxed{answer}$. I hope it is correct.\n\n"
    "Where [answer] is just the final number or expression that solves the problem."
)


def load(path: Path | None) -> ChatTask:
    """Make MATH-500 of a file with the Hub data set's columns, or of where it normally lives."""
    return ChatTask(read=lambda: _read(path), system_prompt=SYSTEM_PROMPT, style="math", max_tokens=MAX_TOKENS)


def _read(path: Path | None) -> Iterator[Problem]:
    """Yield the problems.

    Raises:
        DataError: the data cannot be read, or a row is not as it should be; names file and line.
    """
    place = path or SOURCE.file_name
    seen: set[str] = set()
    for row in SOURCE.rows(path, COLUMNS, OPTIONAL):
        problem = _problem(place, row)
        if problem.id in seen:
            raise DataError(f"the unique_id {problem.id!r} occurs twice", place, row.number)
        seen.add(problem.id)
        yield problem


def _problem(place: Path | str, row: Row) -> Problem:
    level = row.values.get("level")
    match = re.fullmatch(r"(?:Level )?([1-5])", str(level))
    if level is not None and match is None:
        raise DataError(f"column 'level' holds {level!r}: expected 1 to 5", place, row.number)
    subject = row.values.get("subject")
    return Problem(
        id=text_cell(place, row, "unique_id"),
        text=text_cell(place, row, "problem"),
        gold=text_cell(place, row, "answer"),
        level=int(match.group(1)) if match else None,
        subject=None if subject is None else str(subject),
    )
