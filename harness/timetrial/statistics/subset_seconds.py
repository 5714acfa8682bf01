"""Decode seconds of a random k-subset of a problem's completions, from their actual lengths: exact expectations.

With tau(b, L) the seconds of a step (`step_seconds`), l_(r) the lengths in ascending order from rank 0, and A_t the
number of completions that take step t:

- static, the batch stays at k until its longest completion ends:
  sum over r of S_k(l_(r)) C(r, k - 1) / C(N, k), with S_k(l) the seconds of l steps at batch k;
- compact, finished rows leave the batch:
  sum over t and j = 1..k of H(j; N, A_t, k) tau(j, P + t), with H(j) = C(A_t, j) C(N - A_t, k - j) / C(N, k).

A_t changes at the N lengths only, and tau is linear in the context, so the sum over steps is one over N terms.
P problems, N samples, K values of k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from timetrial.statistics.best_of import rank_weights
from timetrial.statistics.step_seconds import StepSeconds, context_sum
from timetrial.statistics.table import FloatArray, IntArray

Mode = Literal["static", "compact"]
MODES: tuple[Mode, ...] = get_args(Mode)


def expected_seconds(
    steps: StepSeconds, mode: Mode, prompt_tokens: IntArray, lengths: IntArray, ks: Sequence[int]
) -> FloatArray:
    """Return the expected decode seconds of one batch of k completions of each problem, (P, K).

    Args:
        steps: seconds of a step.
        mode: what becomes of rows that are finished.
        prompt_tokens: (P,).
        lengths: (P, N) steps that each completion took.
        ks: subset sizes, at most N and at most the largest measured batch.

    Raises:
        ValueError: a k is out of range.
    """
    if any(not 1 <= k <= lengths.shape[1] for k in ks):
        raise ValueError(f"k = {ks} need 1 <= k <= {lengths.shape[1]}, the samples there are per problem")
    fixed_s, per_token_s = _by_rank(steps, mode, lengths.shape[1], ks)
    ordered = np.sort(lengths, axis=1).astype(np.float64)
    contexts = context_sum(prompt_tokens[:, None].astype(np.float64), ordered)
    if mode == "compact":
        ordered, contexts = np.diff(ordered, prepend=0.0), np.diff(contexts, prepend=0.0)
    return np.asarray(ordered @ fixed_s + contexts @ per_token_s)


def seconds_of(steps: StepSeconds, mode: Mode, prompt_tokens: int, lengths: Sequence[int]) -> float:
    """Return the decode seconds of one batch of completions of these lengths."""
    whole = np.array([lengths], dtype=np.int64)
    return float(expected_seconds(steps, mode, np.array([prompt_tokens]), whole, [len(lengths)])[0, 0])


def _by_rank(steps: StepSeconds, mode: Mode, num_samples: int, ks: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Return what multiplies the steps, and the contexts, of the completion of each ascending rank, (N, K) each.

    Static: the chance of being the longest, times what a step costs. Compact, where a rank stands for the steps from
    the length before it to its own: what such a step is expected to cost.
    """
    if mode == "static":
        weights = rank_weights(num_samples, ks)
        fixed_s, per_token_s = steps.at(ks)
        return weights * fixed_s, weights * per_token_s
    columns = []
    for k in ks:
        running = _num_running(num_samples, k)
        fixed_s, per_token_s = steps.at(range(1, k + 1))
        columns.append((running @ fixed_s, running @ per_token_s))
    return np.stack([fixed for fixed, _ in columns], axis=1), np.stack([grown for _, grown in columns], axis=1)


def _num_running(num_samples: int, k: int) -> FloatArray:
    """Return the probability that j = 1..k of a random k-subset take a step that N - r samples take, (N, k), row r."""
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, num_samples + 1)))])  # of factorials
    running = num_samples - np.arange(num_samples)[:, None]
    j = np.arange(1, k + 1)[None, :]
    is_possible = (j <= running) & (k - j <= num_samples - running)
    inside, outside = np.where(is_possible, j, 0), np.where(is_possible, k - j, 0)
    subsets = log[running] - log[inside] - log[running - inside]
    others = log[num_samples - running] - log[outside] - log[num_samples - running - outside]
    total = log[num_samples] - log[k] - log[num_samples - k]
    return np.asarray(np.where(is_possible, np.exp(subsets + others - total), 0.0))


def cheapest_waves(seconds: FloatArray, sizes: Sequence[int], ks: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return, for each of `ks`, the sizes of the batches that hold at least k samples for the least seconds in sum.

    `seconds` are those of a batch of each of `sizes`. Largest first; the last batch may hold more than is needed.
    """
    least, first = [0.0], [0]
    for k in range(1, max(ks, default=0) + 1):
        totals = [second + least[max(k - size, 0)] for second, size in zip(seconds.tolist(), sizes, strict=True)]
        least.append(min(totals))
        first.append(sizes[totals.index(least[-1])])
    waves = []
    for k in ks:
        split, left = [], k
        while left > 0:
            split.append(first[left])
            left -= first[left]
        waves.append(tuple(sorted(split, reverse=True)))
    return tuple(waves)
