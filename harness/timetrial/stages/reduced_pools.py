"""The votes of a run with its scores reduced in every way, and the lengths of its completions, each file read once.

Greedy series are left out: they have one sample. P problems, N samples per problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from timetrial.record import Completion, Grade, Series, StepScores
from timetrial.stages.pools import VotePool, collect_votes
from timetrial.statistics.reduction import REDUCTIONS, Reduction, reduce_scores
from timetrial.statistics.table import FloatArray, IntArray, VoteTable
from timetrial.store import RunFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class ReducedPool:
    """One series as one reward model scores it."""

    series: Series
    reward_model: str
    votes: VoteTable
    """Without scores: unscored answers vote."""
    tables: Mapping[Reduction, VoteTable]
    """The same problems, with the scores reduced in each way: unscored answers abstain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """How long the completions of one series are."""

    unit: str
    """tokens, or characters if those of a completion are not known."""
    problems: Mapping[str, FloatArray]
    """By problem, (N,); nan where there is no completion."""


def reduced_pools(folder: RunFolder, num_samples: int) -> list[ReducedPool]:
    """Return one pool for each series and reward model that scored it, if a problem of it is complete."""
    grades = (grade for grade in folder.read(Grade) if grade.temperature > 0)
    pools = collect_votes(grades, _reduced(folder), num_samples=num_samples, reduction="last")
    return [made for pool in pools for made in _by_reward_model(pool)]


def _reduced(folder: RunFolder) -> Iterator[StepScores]:
    """Yield each record once per reduction, as the single score of a reward model that is named after it too."""
    for record in folder.read(StepScores):
        if record.temperature > 0:
            for reduction in REDUCTIONS:
                named = f"{reduction}:{record.reward_model}"
                scores = (reduce_scores(record.scores, reduction),) if record.reason is None else ()
                yield replace(record, reward_model=named, scores=scores)


def _by_reward_model(pool: VotePool) -> Iterator[ReducedPool]:
    names = dict.fromkeys(named.partition(":")[2] for named in pool.scored)
    for name in names:
        tables = {reduction: pool.scored[f"{reduction}:{name}"] for reduction in REDUCTIONS}
        problems = tables["last"].problems
        if problems:
            yield ReducedPool(series=pool.series, reward_model=name, votes=_rows(pool.table, problems), tables=tables)


def _rows(table: VoteTable, problems: tuple[str, ...]) -> VoteTable:
    place = {problem: row for row, problem in enumerate(table.problems)}
    rows: IntArray = np.array([place[problem] for problem in problems], dtype=np.int64)
    return VoteTable(problems=problems, classes=table.classes[rows], correct=table.correct[rows])


def collect_sample_lengths(folder: RunFolder, num_samples: int) -> dict[Series, Lengths]:
    """Return the lengths of the completions of every series: generated tokens, or characters if a count is missing."""
    tokens: dict[Series, dict[str, FloatArray]] = {}
    characters: dict[Series, dict[str, FloatArray]] = {}
    uncounted: set[Series] = set()
    for completion in folder.read(Completion):
        if completion.sample < num_samples and completion.finish != "error":
            number = completion.num_tokens
            if number is None:
                uncounted.add(completion.series)
            for table, length in ((tokens, number), (characters, len(completion.text))):
                rows = table.setdefault(completion.series, {})
                row = rows.setdefault(completion.problem, np.full(num_samples, np.nan))
                row[completion.sample] = np.nan if length is None else length
    return {
        series: Lengths(unit="characters", problems=characters[series])
        if series in uncounted
        else Lengths(unit="tokens", problems=tokens[series])
        for series in tokens
    }
