"""`--reduction` and `--gamma` of commands on stored runs: how step scores become weights, without scoring again."""

from __future__ import annotations

import dataclasses

import click

from timetrial.cli.options import options
from timetrial.runner import Run
from timetrial.statistics.reduction import REDUCTIONS

reduction_options = options(
    click.option("--reduction", help=f"Of step scores: {', '.join(REDUCTIONS)}. [default: as before]"),
    click.option("--gamma", type=float, help="Power of the scores that `weighted` adds up. [default: as before]"),
)


def with_reduction(run: Run, reduction: str | None, gamma: float | None) -> Run:
    """Return the run with other choices in its config; None leaves one as it is.

    Raises:
        UsageError: there is no such reduction, or gamma is out of range.
    """
    given = {name: value for name, value in (("reduction", reduction), ("gamma", gamma)) if value is not None}
    return dataclasses.replace(run, config=dataclasses.replace(run.config, **given))  # type: ignore[arg-type]  # checked by it
