"""A reward model at work on a run folder: it scores what it has not judged, and is timed at what it has not been.

It is loaded only if there is something to do. `runner.py` and `scoring.py` both go through here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from timetrial.blame import blaming
from timetrial.catalog import Catalog, Offer
from timetrial.clock import Clock
from timetrial.config import TimingGrid
from timetrial.environment import describe_environment, environment_entry, environment_key
from timetrial.environment_record import EnvironmentRecord
from timetrial.error import ConfigMismatchError
from timetrial.plan import CONFIG_FILE
from timetrial.progress import ProgressFactory
from timetrial.protocol import RewardModel, TimedRewardModel
from timetrial.record import ScoreTiming, StepScores
from timetrial.spec import LoadOptions, RewardModelSpec
from timetrial.stages.measure_scores import ScoreMeasurement, remaining_scoring, run_reading
from timetrial.stages.score import PosedTask, score, unscored
from timetrial.store import RunFolder

NOT_TIMEABLE = "it cannot be timed: it has no `reading` and `score_timing` (timetrial.TimedRewardModel)"
NOTHING_TO_READ = "it would score none of the run's completions, so there is no length to time it at"

Facts = Mapping[str, Any]  # Any: JSON values


class Done(NamedTuple):
    """What a reward model did."""

    num_scored: int
    """Completions it was asked about, whether it gave them a score or not."""
    num_timed: int
    """Batches it was timed at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """A reward model as it was asked for, not loaded yet."""

    name: str
    offer: Offer[RewardModelSpec]
    options: LoadOptions
    grid: TimingGrid | None
    """The batches to time it at; None: it is not timed."""
    seed: int = 0

    def run(self, folder: RunFolder, tasks: Mapping[str, PosedTask], clock: Clock, progress: ProgressFactory) -> Done:
        """Score and time what is missing.

        Raises:
            ConfigMismatchError: the folder holds scores of another reward model under this name.
            PluginError: the reward model fails or breaks its contract.
        """
        waiting = unscored(folder, self.name)
        if not waiting and not self._is_untimed(folder):
            return Done(0, 0)
        with blaming(f"reward model {self.name!r}", self.offer.origin):
            reward_model = self.offer.spec.load(self.name.partition(":")[2] or None, self.options)
            self._record(folder, dict(reward_model.description))
            num_scored = score(folder, tasks, self.name, reward_model, progress, waiting=waiting)
            num_timed = self._measure(folder, tasks, reward_model, clock, progress)
        return Done(num_scored, num_timed)

    def _is_untimed(self, folder: RunFolder) -> bool:
        """Whether batches are left to time here, as far as is known without loading it."""
        if self.grid is None:
            return False
        key = environment_key(describe_environment())
        if EnvironmentRecord(folder, key).why_untimed(self.name) is not None:
            return False
        return bool(remaining_scoring(folder, self.name, self.grid, key).trials)

    def _measure(
        self,
        folder: RunFolder,
        tasks: Mapping[str, PosedTask],
        reward_model: RewardModel,
        clock: Clock,
        progress: ProgressFactory,
    ) -> int:
        if self.grid is None:
            return 0
        environment = describe_environment()
        key = environment_key(environment)
        record = EnvironmentRecord(folder, key)
        if not isinstance(reward_model, TimedRewardModel):
            record.add_reward_model(environment_entry(environment), self.name, {"why_not": NOT_TIMEABLE})
            return 0
        reading = run_reading(folder, self.name, tasks, reward_model, key)
        if reading is None:
            record.add_reward_model(environment_entry(environment), self.name, {"why_not": NOTHING_TO_READ})
            return 0
        record.add_reward_model(environment_entry(environment), self.name, reward_model.description)
        measurement = ScoreMeasurement(
            name=self.name,
            reward_model=reward_model,
            reading=reading,
            grid=self.grid,
            environment=key,
            clock=clock,
            seed=self.seed,
        )
        return measurement.run(folder, progress)

    def _record(self, folder: RunFolder, description: dict[str, Any]) -> None:  # Any: JSON values
        """Write down what scores, and refuse to mix its scores with those of another one of the same name."""
        facts = folder.read_json(CONFIG_FILE) or {}
        known = facts.get("reward_model", {})
        if self.name in known and any(old.reward_model == self.name for old in folder.read(StepScores)):
            differences = list(_differences(known[self.name], description))
            if differences:
                listed = "\n  ".join(differences)
                raise ConfigMismatchError(
                    f"{folder.path} was scored by another {self.name}:\n  {listed}\nGive the same to go on, or "
                    "`timetrial score --again` to drop its scores and make all anew"
                )
        folder.write_json(CONFIG_FILE, {**facts, "reward_model": {**known, self.name: description}})


def find_scorer(name: str, catalog: Catalog, options: LoadOptions, grid: TimingGrid | None, *, seed: int = 0) -> Scorer:
    """Look up a reward model by NAME or NAME:REF.

    Raises:
        UnknownNameError: there is none of that name.
    """
    kind = name.partition(":")[0]
    catalog.reward_model(kind)
    offer = catalog.reward_models()[kind]
    return Scorer(name=name, offer=offer, options=options, grid=grid, seed=seed)


def forget(folder: RunFolder, name: str) -> None:
    """Drop the scores and the timings of one reward model; those of others are kept."""
    with folder.replacing(StepScores) as scores:
        scores.append(old for old in folder.read(StepScores) if old.reward_model != name)
    with folder.replacing(ScoreTiming) as timings:
        timings.append(old for old in folder.read(ScoreTiming) if old.reward_model != name)


def _differences(old: Facts, new: Facts, prefix: str = "") -> Iterator[str]:
    """Say, a line each, in which facts two descriptions differ that change scores beyond floating point.

    Those are formats, splitters, number formats and digests. What a fact is about its name must tell: the others, such
    as device, threads and kernels, belong to the reward model.
    """
    for name, value in old.items():
        if isinstance(value, Mapping) and isinstance(new.get(name), Mapping):
            yield from _differences(value, new[name], f"{prefix}{name}.")
        elif (name in _IDENTITY or name.endswith("digest")) and value != new.get(name):
            yield f"{prefix}{name}: the scores have {value!r}, now {new.get(name)!r}"


_IDENTITY = ("kind", "format", "splitter", "dtype", "revision")
