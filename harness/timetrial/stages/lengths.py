"""From the completions of a run to tables of their lengths. Holds numbers only, however long the texts are.

P problems, N samples per problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from timetrial.record import Completion, Series
from timetrial.statistics.table import IntArray

_UNKNOWN = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthPool:
    """How long the completions of one series are."""

    series: Series
    problems: tuple[str, ...]
    """By id: those whose N samples all have a known length."""
    prompt_tokens: IntArray
    """(P,)"""
    lengths: IntArray
    """(P, N) generated tokens, the end-of-sequence token included: the decode steps each completion took."""
    num_left_out: int
    """Problems with fewer samples, or with one of unknown length."""

    @property
    def num_samples(self) -> int:
        """Samples of each problem, N."""
        return int(self.lengths.shape[1])

    def rows_of(self, problems: Sequence[str]) -> IntArray:
        """Return the rows of some problems, in that order."""
        row = {problem: place for place, problem in enumerate(self.problems)}
        return np.array([row[problem] for problem in problems], dtype=np.int64)


def collect_lengths(completions: Iterable[Completion], num_samples: int) -> tuple[LengthPool, ...]:
    """Return one pool per series, in order of appearance; greedy series have one sample, others `num_samples`."""
    prompts: dict[Series, dict[str, int]] = {}
    lengths: dict[Series, dict[str, IntArray]] = {}
    for completion in completions:
        series, problem = completion.series, completion.problem
        wanted = 1 if series.temperature == 0 else num_samples
        table = lengths.setdefault(series, {})
        if problem not in table:
            table[problem] = np.full(wanted, _UNKNOWN, dtype=np.int64)
        if completion.sample < wanted and completion.num_tokens is not None:
            table[problem][completion.sample] = completion.num_tokens
        if completion.num_prompt_tokens is not None:
            prompts.setdefault(series, {})[problem] = completion.num_prompt_tokens
    return tuple(_pool(series, prompts.get(series, {}), table, num_samples) for series, table in lengths.items())


def _pool(series: Series, prompts: dict[str, int], table: dict[str, IntArray], num_samples: int) -> LengthPool:
    kept = [problem for problem in sorted(table) if problem in prompts and (table[problem] != _UNKNOWN).all()]
    wanted = 1 if series.temperature == 0 else num_samples
    return LengthPool(
        series=series,
        problems=tuple(kept),
        prompt_tokens=np.array([prompts[problem] for problem in kept], dtype=np.int64),
        lengths=np.stack([table[problem] for problem in kept]) if kept else np.empty((0, wanted), dtype=np.int64),
        num_left_out=len(table) - len(kept),
    )
