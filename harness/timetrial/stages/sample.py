"""Stage 1: problems become completions. Knows nothing of grading or time."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from timetrial.blame import blaming_each
from timetrial.error import UsageError
from timetrial.progress import ProgressFactory
from timetrial.protocol import Generation, Model, Request, Sampling, Task
from timetrial.record import Completion, Problem, Series
from timetrial.spec import Origin
from timetrial.store import RunFolder

SampleSets = dict[Series, dict[str, int]]
"""Per series and problem, the samples there are: bit i is set if sample i is. (An int is the smallest such set.)"""


def choose_problems(task: str, problems: Sequence[Problem], limit: int | None) -> tuple[Problem, ...]:
    """Return the problems of a run: all, or a draw in which every level keeps its share.

    The draw is seeded by the task's name alone, so that runs with any seed meet the same problems, and a larger limit
    contains a smaller one.

    Raises:
        UsageError: the task has no problems, fewer than `limit`, or repeats an id.
    """
    if not problems:
        raise UsageError(f"task {task!r} has no problems: there is nothing to run")
    ids = [problem.id for problem in problems]
    if len(set(ids)) < len(ids):
        repeated = next(name for name in ids if ids.count(name) > 1)
        raise UsageError(f"task {task!r} has two problems with the id {repeated!r}: ids must be unique")
    if limit is None:
        return tuple(problems)
    if limit > len(problems):
        raise UsageError(f"limit is {limit}, but task {task!r} has only {len(problems)} problems")
    chosen = _stratified(problems, limit, random.Random(task))
    return tuple(problem for problem in problems if problem.id in chosen)


def _stratified(problems: Sequence[Problem], limit: int, rng: random.Random) -> set[str]:
    """Draw ids so that each level has its share to within one problem: order by place within the level."""
    by_level: dict[int | None, list[str]] = defaultdict(list)
    for problem in problems:
        by_level[problem.level].append(problem.id)
    places = []
    for ids in by_level.values():
        rng.shuffle(ids)
        offset = rng.random()
        places += [((position + offset) / len(ids), name) for position, name in enumerate(ids)]
    return {name for _, name in sorted(places)[:limit]}


def existing_samples(folder: RunFolder) -> SampleSets:
    """Return which samples the folder holds."""
    have: SampleSets = defaultdict(lambda: defaultdict(int))
    for completion in folder.read(Completion):
        have[completion.series][completion.problem] |= 1 << completion.sample
    return have


def missing_requests(task: Task, problems: Iterable[Problem], samples: int, have: dict[str, int]) -> list[Request]:
    """Return the requests whose completions are not there yet, problem by problem."""
    requests = []
    for problem in problems:
        prompt = task.prompt(problem)
        present = have.get(problem.id, 0)
        requests += [Request(prompt=prompt, sample=sample) for sample in range(samples) if not present >> sample & 1]
    return requests


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleJob:
    """The completions one series still lacks."""

    series: Series
    requests: Sequence[Request]
    sampling: Sampling
    batch_size: int
    origin: Origin
    """The plugin of the model's family."""

    def run(self, folder: RunFolder, model: Model, progress: ProgressFactory) -> None:
        """Generate the requests and append each completion the moment the model hands it over."""
        if not self.requests:
            return
        label = f"sample {self.series.model}, {self.series.task}, T={self.series.temperature:g}"
        with folder.appending(Completion) as file, progress(label, len(self.requests)) as advance:
            generations = model.generate(self.requests, self.sampling, batch_size=self.batch_size)
            for generation in blaming_each(f"generating with {self.series.model!r}", self.origin, generations):
                file.append([_completion(self.series, generation)])
                advance(1)


def _completion(series: Series, generation: Generation) -> Completion:
    return Completion(
        model=series.model,
        task=series.task,
        temperature=series.temperature,
        problem=generation.request.prompt.problem,
        sample=generation.request.sample,
        text=generation.text,
        finish=generation.finish,
        num_prompt_tokens=generation.num_prompt_tokens,
        num_tokens=generation.num_tokens,
        prompt_digest=generation.prompt_digest,
        error=generation.error,
    )
