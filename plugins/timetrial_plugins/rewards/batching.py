"""Which solutions are read together, and what they share; no tensors here.

Shapes: B sequences, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence

from timetrial_plugins.rewards.formats.encoded import Encoded, num_common


def shared_prefix(solutions: Sequence[Encoded]) -> int:
    """Return how many leading tokens all solutions share, none of which is one where a score is read.

    A single solution shares nothing.
    """
    if len(solutions) < 2:
        return 0
    # What the first and the last in order share, all between them share.
    first, last = min(solution.tokens for solution in solutions), max(solution.tokens for solution in solutions)
    return min(num_common(first, last), *(solution.positions[0] for solution in solutions))


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group sequences, by number, so that B x T stays within a budget; one that exceeds it comes alone.

    The longest come first, so that what does not fit fails at once, and equal lengths meet.
    """
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches
