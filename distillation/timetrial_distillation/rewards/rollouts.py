"""Label steps by rollouts: continue a solution from the end of each step, and count how often that ends right.

Source: Math-Shepherd (arXiv 2312.08935, section 3.3). A step's rollouts are completions of the very prompt, with the
solution up to there as the beginning of the model's turn; the last step is labelled by the solution's own answer. What
follows a step depends on the text up to there alone, so solutions that share a prefix share its rollouts.

With no rollouts a solution is the only one of each of its steps: its own outcome labels them all. Given the text up to
a step's end, that is a draw from the same distribution: soft labels keep their mean, at a fraction of the cost and with
more variance.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from timetrial.error import UsageError
from timetrial.protocol import Generation, Model, Request, Sampling
from timetrial.record import Completion, Finish, Problem, Prompt
from timetrial_distillation.rewards.folder import LabelCounts
from timetrial_distillation.rewards.labels import LabelledSolution
from timetrial_distillation.rewards.problems import ProblemSet

Splitter = Callable[[str], Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutConfig:
    """How solutions and rollouts are sampled. The counts are those of RLHFlow's data: 15 and 16."""

    samples: int = 15
    """Solutions a problem."""
    rollouts: int = 16
    """Continuations of each prefix; 0: the solution itself is the only one."""
    temperature: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what labels nothing.

        Raises:
            UsageError: names the field.
        """
        for name in ("samples", "temperature"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected a positive number")
        if self.rollouts < 0:
            raise UsageError(f"rollouts is {self.rollouts}; expected 0 or more")


class Cut(NamedTuple):
    """A solution, in steps."""

    problem: Problem
    steps: tuple[str, ...]
    prefixes: tuple[str, ...]
    """The text up to the beginning of each step but the first: what the rollouts of the step before go on from."""
    is_right: bool


class Tally(NamedTuple):
    """What became of the rollouts of a prefix; those that failed are left out."""

    right: int
    tried: int


class Labeller:
    """Labels the solutions that a model finds."""

    def __init__(
        self, model: Model, problems: ProblemSet, config: RolloutConfig, splitter: Splitter, batch_size: int
    ) -> None:
        """Label with a model; `batch_size` changes speed only."""
        self._model, self._problems, self._config = model, problems, config
        self._splitter, self._batch_size = splitter, batch_size
        self._task = problems.graded.task

    def label(
        self, problems: Sequence[Problem], advance: Callable[[int], None] = lambda count: None
    ) -> tuple[list[LabelledSolution], LabelCounts]:
        """Return the labelled solutions of some problems, in order; `advance` is told of problems as they are finished.

        Solutions that failed or have no step are left out, and counted.
        """
        cuts, failed = self._solve(problems)
        continued_cuts = cuts if self._config.rollouts else []
        prefixes = list(dict.fromkeys((cut.problem, prefix) for cut in continued_cuts for prefix in cut.prefixes))
        advance(len(problems) - len({problem.id for problem, _ in prefixes}))
        tallies = self._roll_out(prefixes, advance)
        found = [[tallies.get((cut.problem.id, p), Tally(int(cut.is_right), 1)) for p in cut.prefixes] for cut in cuts]
        complete = [(cut, each) for cut, each in zip(cuts, found, strict=True) if all(tally.tried for tally in each)]
        solutions = [self._labelled(cut, each) for cut, each in complete]
        counts = LabelCounts(
            problems=len(problems),
            solutions=len(solutions),
            right_solutions=sum(cut.is_right for cut, _ in complete),
            steps=sum(len(item.steps) for item in solutions),
            right_steps=sum(count > 0 for item in solutions for count in item.right),
            rollouts=sum(tally.tried for tally in tallies.values()),
            failed=failed + len(cuts) - len(complete),
        )
        return solutions, counts

    def _solve(self, problems: Sequence[Problem]) -> tuple[list[Cut], int]:
        prompts = {problem.id: self._task.prompt(problem) for problem in problems}
        requests = [Request(prompt=prompts[p.id], sample=i) for p in problems for i in range(self._config.samples)]
        made = {generation.request: generation for generation in self._generate(requests)}
        known = {problem.id: problem for problem in problems}
        cuts = [self._cut(known[request.prompt.problem], made[request]) for request in requests]
        return [cut for cut in cuts if cut is not None], cuts.count(None)

    def _cut(self, problem: Problem, generation: Generation) -> Cut | None:
        steps = tuple(self._splitter(generation.text))
        if generation.finish == "error" or not steps:
            return None
        prefixes, place = [], 0
        for step in steps:
            place = generation.text.index(step, place)
            prefixes.append(generation.text[:place])
            place += len(step)
        return Cut(problem, steps, tuple(prefixes[1:]), self._is_right(problem, generation.text, generation.finish))

    def _roll_out(
        self, prefixes: Sequence[tuple[Problem, str]], advance: Callable[[int], None]
    ) -> dict[tuple[str, str], Tally]:
        """Return what became of the rollouts of each prefix, by problem and prefix."""
        tallies = {(problem.id, prefix): Tally(0, 0) for problem, prefix in prefixes}
        owners: dict[str, tuple[Problem, str]] = {}
        requests = []
        for problem, prefix in prefixes:
            prompt = continued(self._task.prompt(problem), prefix)
            owners[prompt.problem] = (problem, prefix)
            requests += [Request(prompt=prompt, sample=number) for number in range(self._config.rollouts)]
        left = Counter(owners[request.prompt.problem][0].id for request in requests)
        for generation in self._generate(requests):
            problem, prefix = owners[generation.request.prompt.problem]
            left[problem.id] -= 1
            if left[problem.id] == 0:
                advance(1)
            if generation.finish != "error":
                right, tried = tallies[problem.id, prefix]
                is_right = self._is_right(problem, prefix + generation.text, generation.finish)
                tallies[problem.id, prefix] = Tally(right + is_right, tried + 1)
        return tallies

    def _generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        sampling = Sampling(
            temperature=self._config.temperature,
            max_tokens=self._task.max_tokens,
            stop=self._task.stop,
            seed=self._config.seed,
        )
        return self._model.generate(requests, sampling, batch_size=self._batch_size)

    def _is_right(self, problem: Problem, text: str, finish: Finish) -> bool:
        completion = Completion(
            model="",
            task="",
            temperature=self._config.temperature,
            problem=problem.id,
            sample=0,
            text=text,
            finish=finish,
            num_prompt_tokens=None,
            num_tokens=None,
            prompt_digest="",
        )
        return self._problems.graded.grade(completion).correct is True

    def _labelled(self, cut: Cut, found: Sequence[Tally]) -> LabelledSolution:
        truth = self._problems.truth
        return LabelledSolution(
            problem_id=cut.problem.id,
            problem=cut.problem.text,
            steps=cut.steps,
            right=(*(tally.right for tally in found), int(cut.is_right)),
            rollouts=(*(tally.tried for tally in found), 1),
            truth=None if truth is None else truth(cut.problem.id, cut.steps),
        )


def continued(prompt: Prompt, prefix: str) -> Prompt:
    """Return the prompt whose completions go on with `prefix`, with random numbers of their own."""
    digest = hashlib.sha256(prefix.encode()).hexdigest()[:16]
    return replace(prompt, problem=f"{prompt.problem}/{digest}", start=prefix)
