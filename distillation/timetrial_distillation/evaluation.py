"""How many problems a model solves: a run of the harness, read as two figures.

Whatever is evaluated lies in a folder, as any user would load it, so the figures are those of `timetrial run`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from timetrial.catalog import open_catalog
from timetrial.config import RunConfig
from timetrial.error import UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial.record import Grade
from timetrial.runner import Surroundings, run


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """On what, and how thoroughly."""

    task: str
    limit: int | None = None
    """Problems, drawn once for all evaluations; None: all."""
    samples: int = 0
    """Completions a problem for coverage; 0: only the greedy answer is looked at."""
    temperature: float = 0.8
    """Of those completions."""
    every: int = 0
    """Steps between evaluations during training; 0: at the end only."""

    def __post_init__(self) -> None:
        """Refuse what cannot be evaluated.

        Raises:
            UsageError: names the field.
        """
        if self.samples < 0 or self.every < 0:
            raise UsageError(f"samples is {self.samples} and every {self.every}; expected 0 or more")
        if not self.temperature > 0:
            raise UsageError(f"temperature is {self.temperature}; expected a positive number: acc@1 is greedy already")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was found: a line of evaluations.jsonl."""

    step: int
    task: str
    num_problems: int
    accuracy: float
    """acc@1: share of the problems whose greedy answer is right."""
    coverage: float | None
    """pass@k at k = samples; None if nothing was sampled."""
    samples: int
    temperature: float
    """Of the samples; the answer that acc@1 looks at is greedy."""


def evaluate(
    model: Path, config: EvaluationConfig, out: Path, step: int, device: str, progress: ProgressFactory = silent
) -> Evaluation:
    """Run the model in a folder on the task, into the run folder `out`, and count what is right.

    An answer that the grader cannot judge is not counted as right.

    Raises:
        TimetrialError: the task or its data cannot be had, or the model does not fit the device.
    """
    has_samples = config.samples > 0
    made = run(
        RunConfig(
            models=(str(model),),
            tasks=(config.task,),
            samples=max(config.samples, 1),
            temperatures=(0.0, config.temperature) if has_samples else (0.0,),
            limit=config.limit,
            device=device,
            aggregators=("majority",),
        ),
        out,
        surroundings=Surroundings(catalog=open_catalog(), progress=progress),
    )
    right: dict[tuple[bool, str], list[bool]] = defaultdict(list)
    for grade in made.folder.read(Grade):
        right[grade.temperature > 0, grade.problem].append(grade.correct is True)
    greedy = [values[0] for (is_drawn, _), values in right.items() if not is_drawn]
    solved = [any(values) for (is_drawn, _), values in right.items() if is_drawn]
    return Evaluation(
        step=step,
        task=config.task,
        num_problems=len(greedy),
        accuracy=sum(greedy) / len(greedy),
        coverage=sum(solved) / len(solved) if has_samples else None,
        samples=config.samples,
        temperature=config.temperature,
    )
