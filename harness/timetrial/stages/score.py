"""Stage 3: completions get step scores from a reward model, one problem at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from timetrial.error import PluginError
from timetrial.progress import ProgressFactory
from timetrial.protocol import RewardModel
from timetrial.record import Completion, SampleKey, Series, StepScores
from timetrial.stages.grade import GradedTask
from timetrial.store import RunFolder


def score(
    folder: RunFolder,
    tasks: Mapping[str, GradedTask],
    name: str,
    reward_model: RewardModel,
    progress: ProgressFactory,
) -> int:
    """Score every completion of the folder that has no scores from this reward model; return how many.

    Failed generations get none: they abstain. Only one problem's texts are in memory at a time.
    """
    waiting = _unscored(folder, name)
    total = sum(len(offsets) for offsets in waiting.values())
    if total == 0:
        return 0
    with folder.appending(StepScores) as file, progress(f"score with {name}", total) as advance:
        for (series, problem_id), offsets in waiting.items():
            completions = folder.read_at(Completion, offsets)
            task = tasks[series.task]
            problem = task.problems[problem_id]
            scores = reward_model.score(problem, task.task.prompt(problem), completions)
            _check(name, scores, len(completions))
            file.append(
                _step_scores(completion, name, steps) for completion, steps in zip(completions, scores, strict=True)
            )
            advance(len(completions))
    return total


def _unscored(folder: RunFolder, name: str) -> dict[tuple[Series, str], list[int]]:
    scored: set[SampleKey] = {old.key for old in folder.read(StepScores) if old.reward_model == name}
    waiting: dict[tuple[Series, str], list[int]] = defaultdict(list)
    for offset, completion in folder.offsets(Completion):
        if completion.finish != "error" and completion.key not in scored:
            waiting[completion.series, completion.problem].append(offset)
    return waiting


def _check(name: str, scores: list[tuple[float, ...]], expected: int) -> None:
    if len(scores) != expected or not all(scores):
        raise PluginError(
            f"reward model {name!r} returned {len(scores)} score lists for {expected} completions"
            f"{'' if all(scores) else ', some of them empty'}: expected one list each, with a score or more"
        )


def _step_scores(completion: Completion, name: str, steps: tuple[float, ...]) -> StepScores:
    return StepScores(
        model=completion.model,
        task=completion.task,
        temperature=completion.temperature,
        problem=completion.problem,
        sample=completion.sample,
        reward_model=name,
        scores=tuple(float(step) for step in steps),
    )
