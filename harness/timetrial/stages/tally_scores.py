"""Count, per series and reward model, the completions with and without scores. Holds one line at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from timetrial.record import Series, StepScores
from timetrial.report.data import ScoringStatistics
from timetrial.store import RunFolder


@dataclass(kw_only=True, slots=True)
class _Scores:
    """Running counts of one series and reward model; becomes a ScoringStatistics."""

    num_scored: int = 0
    num_steps: int = 0
    unscored: Counter[str] = field(default_factory=Counter)

    def add(self, record: StepScores) -> None:
        if record.reason is not None:
            self.unscored[record.reason.partition(":")[0]] += 1
            return
        self.num_scored += 1
        self.num_steps += len(record.scores)


def gather_scoring(folder: RunFolder) -> tuple[ScoringStatistics, ...]:
    """Count, per series and reward model, the completions with and without scores."""
    tallies: dict[tuple[Series, str], _Scores] = defaultdict(_Scores)
    for record in folder.read(StepScores):
        tallies[Series(record.model, record.task, record.temperature), record.reward_model].add(record)
    return tuple(
        ScoringStatistics(
            series=series,
            reward_model=reward_model,
            num_scored=tally.num_scored,
            unscored=tuple(tally.unscored.most_common()),
            mean_steps=tally.num_steps / tally.num_scored if tally.num_scored else None,
        )
        for (series, reward_model), tally in tallies.items()
    )
