"""When the completions of a subset are finished, and the deadlines at which to look.

In a static batch of k, a completion of l steps is finished after S_k(l) seconds, whatever the others do: what is
finished at a deadline is a property of the completion, and every exact estimator of k-subsets stays exact. In a
compact batch the steps speed up as others finish, so it is a property of the subset, and subsets are drawn.
N samples, R subsets, k samples of each.
"""

from __future__ import annotations

import math
import zlib

import numpy as np

from timetrial.statistics.step_seconds import StepSeconds, context_sum
from timetrial.statistics.subset_seconds import Mode
from timetrial.statistics.table import FloatArray, IntArray

_DIGITS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)


def deadline_ladder(first_s: float, last_s: float) -> tuple[float, ...]:
    """Return round deadlines, ten per factor of ten, from the last before `first_s` to the first from `last_s` on."""
    decades = range(math.floor(math.log10(first_s)) - 1, math.ceil(math.log10(last_s)) + 2)
    rungs = [float(f"{digit}e{decade}") for decade in decades for digit in _DIGITS]
    start = max(place for place, rung in enumerate(rungs) if rung < first_s)
    end = min(place for place, rung in enumerate(rungs) if rung >= last_s)
    return tuple(rungs[start : end + 1])


def static_finish_s(steps: StepSeconds, prompt_tokens: IntArray, lengths: IntArray, k: int) -> FloatArray:
    """Return when each completion is finished in a static batch of k of its problem's; (P,) and (P, N) give (P, N)."""
    return steps.lasting_s(k, prompt_tokens[:, None].astype(np.float64), lengths.astype(np.float64))


def subset_finish_s(steps: StepSeconds, mode: Mode, prompt_tokens: int, lengths: IntArray) -> FloatArray:
    """Return when each completion of each subset of a problem is finished in a batch; (R, k) gives (R, k)."""
    if mode == "static":
        return static_finish_s(steps, np.full(len(lengths), prompt_tokens), lengths, lengths.shape[1])
    order = np.argsort(lengths, axis=1, kind="stable")
    ordered = np.take_along_axis(lengths, order, axis=1).astype(np.float64)
    contexts = context_sum(np.array(float(prompt_tokens)), ordered)
    # The steps from one length to the next are taken by those that are not finished yet: k, then k - 1, ...
    fixed_s, per_token_s = steps.at(range(lengths.shape[1], 0, -1))
    passed_s = np.diff(ordered, prepend=0.0) * fixed_s + np.diff(contexts, prepend=0.0) * per_token_s
    finished_s = np.empty_like(passed_s)
    np.put_along_axis(finished_s, order, np.cumsum(passed_s, axis=1), axis=1)
    return finished_s


def random_orders(problem: str, num_samples: int, count: int, seed: int) -> IntArray:
    """Return random orders of a problem's samples, (R, N), by its id and the seed alone; prefixes are subsets."""
    rng = np.random.default_rng([seed, zlib.crc32(problem.encode())])
    return rng.permuted(np.tile(np.arange(num_samples), (count, 1)), axis=1)
