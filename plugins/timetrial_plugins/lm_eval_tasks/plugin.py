"""Offers lm-eval's tasks, and the commands about them. Importing it costs nothing; lm-eval may be absent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import timetrial

if TYPE_CHECKING:
    import click

NAME = "lm-eval"


@timetrial.hookimpl
def timetrial_tasks() -> Sequence[timetrial.TaskSpec]:
    """Return the one spec that stands for all generation tasks of lm-eval."""
    return [
        timetrial.TaskSpec(
            name=NAME,
            load=_without_name,
            load_named=_named,
            doc="lm-eval's generation tasks that exact_match grades: lm-eval:gsm8k, lm-eval:FOLDER/NAME of one's own.",
        )
    ]


@timetrial.hookimpl
def timetrial_commands() -> Sequence[timetrial.CommandSpec]:
    """Return the bridges to lm-eval."""
    return [
        timetrial.CommandSpec(
            name=NAME, load=_commands, doc="lm-eval's tasks here, timetrial's tasks there, both graders side by side."
        )
    ]


def _commands() -> click.Command:
    from timetrial_plugins.lm_eval_tasks.commands import lm_eval

    return lm_eval


def _without_name(path: Path | None) -> timetrial.Task:
    raise timetrial.UsageError(
        "lm-eval stands for many tasks: name one behind a colon, for example lm-eval:gsm8k (`lm_eval ls tasks`)"
    )


def _named(reference: str, path: Path | None) -> timetrial.Task:
    from timetrial_plugins.lm_eval_tasks.task import load_named

    return load_named(reference, path)
