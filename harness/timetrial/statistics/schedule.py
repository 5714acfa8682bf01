"""Throughput: many completions through an engine with a fixed number of rows, each refilled as soon as it is free.

A discrete-event list schedule on tau(b, L) (`step_seconds`): between two events, which are the ends of completions,
the rows stay the same and their contexts grow by a token a step. A batch of sequences with different contexts costs
what one with their mean context does. It is the rate of a busy engine, never the latency of one problem.
n completions.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from timetrial.statistics.step_seconds import StepSeconds
from timetrial.statistics.table import IntArray


class Schedule(NamedTuple):
    """How long an engine takes over some completions."""

    seconds: float
    mean_rows: float
    """Rows in use, the mean over the steps."""


def schedule(steps: StepSeconds, prompt_tokens: IntArray, lengths: IntArray, rows: int) -> Schedule:
    """Return how long an engine of `rows` rows takes over completions, started in the order given.

    Args:
        steps: seconds of a step.
        prompt_tokens: (n,) of each completion.
        lengths: (n,) steps that each completion takes.
        rows: most sequences decoded together.

    Raises:
        ValueError: `rows` is below 1 or above the largest measured batch.
    """
    fixed_s, per_token_s = (part.tolist() for part in steps.at(range(1, rows + 1)))
    waiting = [(prompt, length) for prompt, length in zip(prompt_tokens.tolist(), lengths.tolist(), strict=True)]
    waiting = [each for each in reversed(waiting) if each[1] > 0]
    running: list[tuple[int, int]] = []  # (step after which it ends, its context then), a heap
    step, contexts, seconds, row_steps = 0, 0, 0.0, 0
    while waiting or running:
        while waiting and len(running) < rows:
            prompt, length = waiting.pop()
            heapq.heappush(running, (step + length, prompt + length))
            contexts += prompt
        size, passed = len(running), running[0][0] - step
        grown = contexts * passed + size * passed * (passed + 1) // 2
        seconds += fixed_s[size - 1] * passed + per_token_s[size - 1] * grown / size
        step, contexts, row_steps = step + passed, contexts + size * passed, row_steps + size * passed
        while running and running[0][0] == step:
            contexts -= heapq.heappop(running)[1]
    return Schedule(seconds, row_steps / max(step, 1))
