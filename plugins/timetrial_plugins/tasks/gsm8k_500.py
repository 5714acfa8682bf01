"""GSM8K-500: 500 of the 1,319 test problems of GSM8K, with the paper's system prompt.

The paper's 500 problems are "randomly selected" and not published. Ours are drawn once, uniformly and without
replacement: `random.Random("timetrial gsm8k-500").sample(range(1319), 500)`, sorted. The rows (from 0) stand in
`gsm8k_500_rows.json`.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from timetrial.error import DataError
from timetrial.record import Problem
from timetrial.rows import Row
from timetrial_plugins.tasks.chat_task import ChatTask
from timetrial_plugins.tasks.source import Source, text_cell

NAME = "gsm8k-500"
MAX_TOKENS = 2048
NUM_TEST_ROWS = 1319
SOURCE = Source(task=NAME, hub_id="openai/gsm8k", hub_config="main", split="test", file_name="gsm8k_test.jsonl")
COLUMNS = ("question", "answer")
ANSWER_MARK = "####"

# The paper's prompt, word for word. Its line breaks are not certain: the paper's text shows one after each line, and
# possibly one before the first word and after the last colon.
SYSTEM_PROMPT = (
    "Given the following problem, reason and give a final answer to the problem.\n"
    'Your response should end with "The final answer is [answer]" where [answer] is the response to the problem.\n'
    "Problem:"
)


def subset_rows() -> tuple[int, ...]:
    """Return the rows of the test set, from 0, that make up the task."""
    text = files("timetrial_plugins.tasks").joinpath("gsm8k_500_rows.json").read_text(encoding="utf-8")
    return tuple(json.loads(text))


def load(path: Path | None) -> ChatTask:
    """Make GSM8K-500 of the whole test set, in a file or from where it normally lives."""
    return ChatTask(read=lambda: _read(path), system_prompt=SYSTEM_PROMPT, style="gsm8k", max_tokens=MAX_TOKENS)


def _read(path: Path | None) -> list[Problem]:
    """Return the problems of the subset.

    Raises:
        DataError: the data cannot be read, is not the whole test set, or a row is not as it should be.
    """
    place = path or SOURCE.file_name
    problems = [_problem(place, index, row) for index, row in enumerate(SOURCE.rows(path, COLUMNS))]
    if len(problems) != NUM_TEST_ROWS:
        raise DataError(
            f"has {len(problems)} rows: the subset is defined on the whole test set of {NUM_TEST_ROWS:,}", place
        )
    return [problems[row] for row in subset_rows()]


def _problem(place: Path | str, index: int, row: Row) -> Problem:
    _, mark, gold = text_cell(place, row, "answer").rpartition(ANSWER_MARK)
    if not mark or not gold.strip():
        raise DataError(f"column 'answer' does not end in {ANSWER_MARK!r} and a number", place, row.number)
    return Problem(id=f"gsm8k-test-{index:04d}", text=text_cell(place, row, "question"), gold=gold.strip())
