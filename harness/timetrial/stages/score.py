"""Stage 3: completions get step scores from a reward model, or the reason why not, one problem at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from timetrial.error import PluginError, RunError
from timetrial.progress import ProgressFactory
from timetrial.protocol import RewardModel, Task, Unscored
from timetrial.record import Completion, Problem, SampleKey, Series, StepScores
from timetrial.store import RunFolder

Waiting = Mapping[tuple[Series, str], list[int]]
"""By series and problem, the offsets of completions in samples.jsonl."""


class PosedTask(Protocol):
    """What a reward model must be told of a task: its problems, by id, and how they were put."""

    @property
    def task(self) -> Task:
        """The task."""
        ...

    @property
    def problems(self) -> Mapping[str, Problem]:
        """Those of the run, by id."""
        ...


def score(
    folder: RunFolder,
    tasks: Mapping[str, PosedTask],
    name: str,
    reward_model: RewardModel,
    progress: ProgressFactory,
    *,
    waiting: Waiting | None = None,
) -> int:
    """Score every completion of the folder that this reward model has not judged; return how many.

    `waiting` is what `unscored` returns, if it has been asked.

    A completion it gives no score is recorded with the reason, and not asked about again. Failed generations have no
    text, and get no record. Only one problem's texts are in memory at a time.

    Raises:
        PluginError: the reward model breaks its contract.
        RunError: the run does not hold the problem of a completion.
    """
    waiting = unscored(folder, name) if waiting is None else waiting
    total = sum(len(offsets) for offsets in waiting.values())
    if total == 0:
        return 0
    with folder.appending(StepScores) as file, progress(f"score with {name}", total) as advance:
        for (series, problem_id), offsets in waiting.items():
            completions = folder.read_at(Completion, offsets)
            problem = posed_problem(tasks[series.task], series.task, problem_id)
            scores = reward_model.score(problem, tasks[series.task].task.prompt(problem), completions)
            _check(name, scores, len(completions))
            file.append(_record(completion, name, steps) for completion, steps in zip(completions, scores, strict=True))
            advance(len(completions))
    return total


def unscored(folder: RunFolder, name: str) -> Waiting:
    """Return the offsets of the completions that a reward model has not judged, by series and problem."""
    scored: set[SampleKey] = {old.key for old in folder.read(StepScores) if old.reward_model == name}
    waiting: dict[tuple[Series, str], list[int]] = defaultdict(list)
    for offset, completion in folder.offsets(Completion):
        if completion.finish != "error" and completion.key not in scored:
            waiting[completion.series, completion.problem].append(offset)
    return waiting


def posed_problem(posed: PosedTask, task: str, problem: str) -> Problem:
    """Return a problem of a task by its id.

    Raises:
        RunError: the run does not hold it.
    """
    if problem not in posed.problems:
        raise RunError(
            f"problem {problem!r} of a sample on {task} is not among the problems that the run stored, so its solution "
            "cannot be scored: put it back, or start anew with another --out"
        )
    return posed.problems[problem]


def _check(name: str, scores: Sequence[tuple[float, ...] | Unscored], expected: int) -> None:
    if len(scores) != expected:
        raise PluginError(f"reward model {name!r} returned {len(scores)} results for {expected} completions")
    for steps in scores:
        if isinstance(steps, Unscored):
            if not steps.reason:
                raise PluginError(f"reward model {name!r} left a completion unscored without a reason")
        elif not steps or not all(math.isfinite(step) for step in steps):
            raise PluginError(
                f"reward model {name!r} returned the scores {tuple(steps)}: expected one finite number a step, or "
                "timetrial.Unscored with the reason"
            )


def _record(completion: Completion, name: str, steps: tuple[float, ...] | Unscored) -> StepScores:
    key = completion.key._asdict()
    if isinstance(steps, Unscored):
        return StepScores(**key, reward_model=name, scores=(), reason=steps.reason)
    return StepScores(**key, reward_model=name, scores=tuple(float(step) for step in steps))
