"""Which second prompt to time, so that a step's growth with the context is known over all that a run has met."""

from __future__ import annotations

import math
from dataclasses import replace

from timetrial.config import TimingGrid
from timetrial.record import Completion, Timing
from timetrial.statistics.step_seconds import spans_contexts
from timetrial.store import RunFolder

LEAST_DISTANCE = 1.5
"""Mean contexts are timed at least this factor apart: farther than is needed, since both have noise."""


def spanning_contexts(folder: RunFolder, grid: TimingGrid) -> TimingGrid:
    """Return the grid with a second prompt length, whose steps end at the longest context of the run's completions.

    It is in the same grid so that both are timed in one random order: what the machine does meanwhile falls on both.
    What was timed before is kept when samples are added, unless contexts have become more than twice as long. The grid
    stays as it is if the run holds no completion, or if it has several prompt lengths of its own.

    Args:
        folder: the run.
        grid: its own timing grid, lengths settled.
    """
    longest = max(_contexts(folder), default=None)
    if longest is None or len(grid.prompt_tokens) > 1:
        return grid
    (prompt_tokens,), new_tokens = grid.prompt_tokens, grid.new_tokens
    assert new_tokens is not None, "settle the grid's lengths first"
    own = mean_context(prompt_tokens, new_tokens)
    timed = {row.prompt_tokens for row in folder.read(Timing) if row.new_tokens == new_tokens}
    for other in sorted(timed, reverse=True):
        reached = mean_context(other, new_tokens)
        if spans_contexts((own, reached)) and 2 * max(own, reached) >= longest:
            return replace(grid, prompt_tokens=(prompt_tokens, other))
    return replace(grid, prompt_tokens=(prompt_tokens, _second_prompt(own, new_tokens, longest)))


def mean_context(prompt_tokens: int, new_tokens: int) -> float:
    """Return the mean context of the steps of a timed batch."""
    return prompt_tokens + (new_tokens + 1) / 2


def _second_prompt(own: float, new_tokens: int, longest: int) -> int:
    """Return the prompt after which the steps end at the longest context, or go far enough beyond the grid's own."""
    last = max(1, longest - new_tokens)
    if LEAST_DISTANCE * mean_context(last, new_tokens) <= own:
        return last  # the grid's own prompt was chosen longer than anything in the run
    return max(last, math.ceil(LEAST_DISTANCE * own - (new_tokens + 1) / 2))


def _contexts(folder: RunFolder) -> set[int]:
    """Return how long prompts and completions are together."""
    return {
        completion.num_prompt_tokens + completion.num_tokens
        for completion in folder.read(Completion)
        if completion.num_prompt_tokens is not None and completion.num_tokens is not None
    }
