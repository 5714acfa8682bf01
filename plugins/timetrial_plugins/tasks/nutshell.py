"""The nutshell task: 200 generated arithmetic word problems that need no download."""

from __future__ import annotations

from pathlib import Path

from timetrial.error import UsageError
from timetrial.record import Problem
from timetrial_plugins.nutshell.generator import test_problems
from timetrial_plugins.tasks.chat_task import ChatTask

NAME = "nutshell"
MAX_TOKENS = 256


def load(path: Path | None) -> ChatTask:
    """Make the task.

    Raises:
        UsageError: a data file was given; the task generates its problems.
    """
    if path is not None:
        raise UsageError(f"the task {NAME!r} generates its problems: it takes no data file ({path})")
    return ChatTask(read=_read, system_prompt=None, style="nutshell", max_tokens=MAX_TOKENS)


def _read() -> list[Problem]:
    return [
        Problem(id=item.id, text=item.text, gold=item.answer, level=item.level, subject=item.subject)
        for item in test_problems()
    ]
