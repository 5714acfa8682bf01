"""Generate some problems of a run again, a problem at a time, and measure the wall clock: what replay is checked by.

One call of the engine generates k completions of one problem, with the run's own sampling; its seconds hold prefill,
decoding and the making of the texts. Grading and reward models are left out. A batch of the timing grid is timed right
after each problem, which tells how fast the machine is now, beside when it was timed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from timetrial.blame import blaming_each
from timetrial.clock import Clock
from timetrial.error import UsageError
from timetrial.progress import ProgressFactory
from timetrial.protocol import Model, Request, Sampling
from timetrial.record import EndToEnd, Prompt, Series, Timing
from timetrial.spec import Origin
from timetrial.stages.step_fits import fit_models
from timetrial.store import RunFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class EndToEndSettings:
    """How much of a run to generate again."""

    problems: int = 20
    """Of each task, all if it has fewer."""
    samples: int = 16
    """Completions of a problem, generated together; greedy series have one."""
    repeats: int = 3

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            UsageError: a number is below 1.
        """
        for name in ("problems", "samples", "repeats"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: expected 1 or more")


class Reference(NamedTuple):
    """The lengths of a batch that is timed after each problem."""

    prompt_tokens: int
    new_tokens: int


class Trial(NamedTuple):
    """One problem, to be generated once."""

    prompt: Prompt
    repeat: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EndToEndJob:
    """The problems of one series that are to be generated, how often, and how."""

    series: Series
    prompts: Sequence[Prompt]
    samples: int
    """Completions of a problem, k: all are decoded together."""
    repeats: int
    sampling: Sampling
    reference: Reference
    environment: str
    origin: Origin
    """The plugin of the model's family."""

    def missing(self, folder: RunFolder) -> list[Trial]:
        """Return what has no measurement on this machine yet, in random order, the same each time."""
        done = {
            (row.problem, row.repeat)
            for row in folder.read(EndToEnd)
            if (row.series, row.num_samples, row.environment) == (self.series, self.samples, self.environment)
        }
        trials = [Trial(prompt, repeat) for prompt in self.prompts for repeat in range(self.repeats)]
        random.Random(self.samples).shuffle(trials)
        return [trial for trial in trials if (trial.prompt.problem, trial.repeat) not in done]

    def run(self, folder: RunFolder, model: Model, clock: Clock, progress: ProgressFactory) -> None:
        """Generate what is missing and append each measurement the moment it is made, warm-ups first."""
        trials = self.missing(folder)
        if not trials:
            return
        label = f"generate {self.series.model}, {self.series.task}, T={self.series.temperature:g}"
        with folder.appending(EndToEnd) as file, progress(label, len(trials) + 1) as advance:
            for trial in (Trial(trials[0].prompt, -1), *trials):
                file.append([self._measure(trial, model, clock)])
                advance(1)

    def _measure(self, trial: Trial, model: Model, clock: Clock) -> EndToEnd:
        requests = [Request(prompt=trial.prompt, sample=sample) for sample in range(self.samples)]
        start_s = clock.now()
        generations = model.generate(requests, self.sampling, batch_size=self.samples)
        made = list(blaming_each(f"generating with {self.series.model!r}", self.origin, generations))
        wall_s = clock.now() - start_s
        reference = model.decode_timing(
            self.samples, self.reference.prompt_tokens, self.reference.new_tokens, clock=clock, seed=0
        )
        return EndToEnd(
            **self.series._asdict(),
            problem=trial.prompt.problem,
            num_samples=self.samples,
            repeat=trial.repeat,
            is_warmup=trial.repeat < 0,
            num_prompt_tokens=made[0].num_prompt_tokens,
            lengths=tuple(generation.num_tokens for generation in made),
            wall_s=wall_s,
            reference_s=reference.decode_s,
            reference_prompt_tokens=self.reference.prompt_tokens,
            reference_new_tokens=self.reference.new_tokens,
            environment=self.environment,
        )


def some_problems(task: str, problems: Sequence[str], count: int) -> Iterator[str]:
    """Yield a draw of a task's problems, the same for all models; a larger draw contains a smaller one."""
    shuffled = sorted(problems)
    random.Random(f"end to end, {task}").shuffle(shuffled)
    yield from shuffled[:count]


def check_can_validate(
    mapped: Sequence[Timing], timings: Iterable[Timing], settings: EndToEndSettings, environment: str
) -> None:
    """Refuse to measure what replay could not be compared with.

    Args:
        mapped: the rows that T*(k) comes from, whose machine replay is about.
        timings: all rows of the run.
        settings: what is to be generated.
        environment: this machine, as it is set up.

    Raises:
        UsageError: the rows are of another machine or set-up, or do not tell the seconds of so large a batch.
    """
    if all(row.environment != environment for row in mapped):
        known = f"the timings are of {mapped[0].environment}" if mapped else "nothing was timed"
        raise UsageError(
            f"{known}, and this machine, as it is set up, is {environment}: seconds of two machines do not compare. "
            "Add --time to time it here, and keep the number of threads (OMP_NUM_THREADS)"
        )
    fits = fit_models(timings, environment)
    if not fits.models:
        reasons = "; ".join(f"{missing.what}: {missing.reason}" for missing in fits.missing)
        raise UsageError(f"there are no seconds of a step to compare with. {reasons}")
    for name, model in fits.models.items():
        if settings.samples > model.steps.largest:
            raise UsageError(
                f"{settings.samples} samples at once cannot be replayed: the largest timed batch of {name} is "
                f"{model.steps.largest}. Give --samples {model.steps.largest}, or time a larger batch with "
                "`timetrial run --batch`"
            )
