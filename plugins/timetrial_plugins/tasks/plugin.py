"""Offers the tasks. Importing it costs nothing; data is read when a task is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timetrial


@timetrial.hookimpl
def timetrial_tasks() -> Sequence[timetrial.TaskSpec]:
    """Return MATH-500, GSM8K-500 and the nutshell."""
    return [
        timetrial.TaskSpec(
            name="math-500", load=_math_500, doc="500 problems of the MATH benchmark, levels 1 to 5; answers in boxes."
        ),
        timetrial.TaskSpec(
            name="gsm8k-500", load=_gsm8k_500, doc="500 of GSM8K's test problems, drawn once at random; whole numbers."
        ),
        timetrial.TaskSpec(
            name="nutshell", load=_nutshell, doc="200 generated arithmetic stories, levels 1 to 5; needs no download."
        ),
    ]


def _math_500(path: Path | None) -> timetrial.Task:
    from timetrial_plugins.tasks.math_500 import load

    return load(path)


def _gsm8k_500(path: Path | None) -> timetrial.Task:
    from timetrial_plugins.tasks.gsm8k_500 import load

    return load(path)


def _nutshell(path: Path | None) -> timetrial.Task:
    from timetrial_plugins.tasks.nutshell import load

    return load(path)
