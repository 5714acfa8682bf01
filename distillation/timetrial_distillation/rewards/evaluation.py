"""Score labelled solutions with any reward model, and say how good its scores are for each kind of label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timetrial.blame import blaming
from timetrial.catalog import Catalog
from timetrial.error import UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial.protocol import RewardModel, Unscored
from timetrial.record import Completion, Message, Problem, Prompt
from timetrial.spec import LoadOptions
from timetrial_distillation.rewards.data import LabelData, by_problem
from timetrial_distillation.rewards.labels import LabelledSolution
from timetrial_distillation.rewards.quality import Judged, Quality, measure_quality
from timetrial_plugins.rewards.steps import SPLITTERS, WHOLE

Scores = tuple[float, ...]
KINDS: Mapping[str, Callable[[LabelledSolution], Sequence[float] | None]] = {
    "truth": lambda solution: None if solution.truth is None else tuple(map(float, solution.truth)),
    "hard": lambda solution: solution.targets("hard"),
    "soft": lambda solution: solution.targets("soft"),
}
"""Labels by kind: what is known to be right, whether any rollout ended right, the share that did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardEvaluation:
    """What was found."""

    reward_model: str
    description: Mapping[str, Any]  # Any: JSON
    data: tuple[str, ...]
    data_digest: str
    left_out: Mapping[str, int]
    """Records that are no labelled solution, and solutions without scores for their steps, by reason."""
    qualities: Mapping[str, Quality]
    """By kind of label, where there are such labels."""

    def to_json(self) -> Mapping[str, Any]:  # Any: JSON
        """Return the same ready for JSON."""
        return {
            "reward_model": self.reward_model,
            "description": dict(self.description),
            "data": list(self.data),
            "data_digest": self.data_digest,
            "left_out": dict(self.left_out),
            "quality": {kind: quality.to_json() for kind, quality in self.qualities.items()},
        }


def evaluate_reward_model(
    name: str, data: LabelData, catalog: Catalog, options: LoadOptions, progress: ProgressFactory = silent
) -> RewardEvaluation:
    """Score all solutions with a reward model (NAME or NAME:REF), and measure the scores.

    Raises:
        UnknownNameError: there is no such reward model.
        UsageError: it scores none of the solutions step by step.
    """
    kind, _, ref = name.partition(":")
    spec = catalog.reward_model(kind)
    with blaming(f"reward model {name!r}", catalog.reward_models()[kind].origin):
        model = spec.load(ref or None, options)
        left_out = Counter(data.left_out)
        with progress(f"score with {name}", len(data.solutions)) as advance:
            scored = list(_scored(model, data, left_out, advance))
    if not scored:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in left_out.items())
        raise UsageError(f"{name!r} scores none of the {len(data.solutions):,} solutions ({reasons})")
    qualities = {kind: _quality(scored, labels) for kind, labels in KINDS.items()}
    return RewardEvaluation(
        reward_model=name,
        description=dict(model.description),
        data=data.names,
        data_digest=data.digest,
        left_out=dict(left_out),
        qualities={kind: quality for kind, quality in qualities.items() if quality is not None},
    )


def _scored(
    model: RewardModel, data: LabelData, left_out: Counter[str], advance: Callable[[int], None]
) -> Iterator[tuple[LabelledSolution, Scores]]:
    """Yield solutions with as many scores as labels, or with one for the whole of it."""
    splitter = str(model.description.get("splitter", "blank-line"))
    border = SPLITTERS.get(splitter) or "\n\n"
    for problem_id, solutions in by_problem(data.solutions).items():
        text = solutions[0].problem
        problem = Problem(id=problem_id, text=text, gold="")
        prompt = Prompt(problem=problem_id, messages=(Message("user", text),))
        completions = [_completion(solution, number, border) for number, solution in enumerate(solutions)]
        for solution, scores in zip(solutions, model.score(problem, prompt, completions), strict=True):
            if isinstance(scores, Unscored):
                left_out[scores.reason.partition(":")[0]] += 1
            elif len(scores) != (1 if splitter == WHOLE else len(solution.steps)):
                left_out["split into other steps"] += 1
            else:
                yield solution, scores
        advance(len(solutions))


def _completion(solution: LabelledSolution, number: int, border: str) -> Completion:
    return Completion(
        model="",
        task="",
        temperature=0.0,
        problem=solution.problem_id,
        sample=number,
        text=border.join(solution.steps),
        finish="stop",
        num_prompt_tokens=None,
        num_tokens=None,
        prompt_digest="",
    )


def _quality(
    scored: Sequence[tuple[LabelledSolution, Scores]], labels: Callable[[LabelledSolution], Sequence[float] | None]
) -> Quality | None:
    """Measure the solutions that have such labels; None if there are none."""
    judged = [
        Judged(solution.problem_id, scores, tuple(found[-len(scores) :]), solution.is_right)
        for solution, scores in scored
        if (found := labels(solution)) is not None
    ]
    return measure_quality(judged) if judged else None
