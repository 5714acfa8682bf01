"""A folder of labels from beginning to end: what was asked for, block by block of problems, to be stopped at any time.

A block's labels are a function of the request, and a block is stored as a whole: a run that was killed goes on with the
next one, and ends with the labels of a run that was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from timetrial.catalog import Catalog
from timetrial.error import RunError
from timetrial.loading import locate_model
from timetrial.progress import ProgressFactory, silent
from timetrial.spec import LoadOptions
from timetrial_distillation.data.claim import claimed
from timetrial_distillation.rewards.folder import LabelFolder
from timetrial_distillation.rewards.problems import ProblemChoice, open_problems
from timetrial_distillation.rewards.rollouts import Labeller, RolloutConfig
from timetrial_plugins.rewards.steps import split_steps

BLOCK = 32
"""Problems whose rollouts run together, and what is lost at most when the process is killed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRequest:
    """What is to be labelled, and how."""

    model: str
    """Who solves the problems and continues the solutions."""
    problems: ProblemChoice
    rollouts: RolloutConfig
    splitter: str = "blank-line"


def label_steps(
    request: LabelRequest,
    out: Path,
    catalog: Catalog,
    options: LoadOptions,
    *,
    batch_size: int,
    progress: ProgressFactory = silent,
) -> Mapping[str, Any]:  # Any: JSON
    """Write the labels to `out`, or go on with what is there; return the index of the finished folder.

    Raises:
        ConfigMismatchError: `out` was begun with another request; shows the difference.
        RunLockedError: another process writes to `out`.
        RunError: the disk is full, or `out` cannot be written to.
        TimetrialError: the model, the task or the problems cannot be had.
    """
    located = locate_model(request.model, catalog)
    problems = open_problems(request.problems, catalog)
    model_facts = {"ref": request.model, **located.facts()}
    described = {**asdict(request), "model": model_facts, **problems.facts, "block": BLOCK}
    blocks = [problems.problems[start : start + BLOCK] for start in range(0, len(problems.problems), BLOCK)]
    folder = LabelFolder(out)
    try:
        with claimed(out, described):
            if folder.is_finished:
                return folder.index()
            model = located.load(options)
            splitter = partial(split_steps, splitter=request.splitter)
            labeller = Labeller(model, problems, request.rollouts, splitter, batch_size)
            with progress("label steps", len(problems.problems)) as advance:
                for number, block in enumerate(blocks):
                    if folder.has_part(number):
                        advance(len(block))
                    else:
                        folder.write_part(number, *labeller.label(block, advance))
            return folder.finish(len(blocks), {"request": described})
    except OSError as cause:
        raise RunError(
            f"cannot write to {out}: {cause}. Make room or mend it, and run the command again: what is labelled stays."
        ) from cause
