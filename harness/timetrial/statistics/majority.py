"""Majority voting: the answer class with the most votes, its expected accuracy over all k-subsets, exactly.

Ties are broken uniformly at random, abstaining samples have no vote, and a subset without votes is wrong.

Method. Let the right class have s samples, the other classes s_a, and z samples abstain; let x^i stand for "i samples
chosen". The k-subsets that the right class wins with m votes, a tie of t + 1 classes counting 1/(t + 1), number

    [x^k]  C(s, m) x^m  (1 + x)^z  integral over 0 < y < 1 of  prod over a ( sum_{i<m} C(s_a, i) x^i + y C(s_a, m) x^m )

because the integral of y^t is 1/(t + 1). Gauss-Legendre nodes make the integral an exact finite sum. The coefficient
is read off by a Fourier sum over the circle |x| = p/(1 - p), p = k/N. There, divided by (1 + |x|) to its degree, each
factor is a sum of binomial probabilities with phases: nothing overflows or cancels, for any N. The circle needs fewer
points than the degree, because all but 1e-18 of the binomial mass lies near k.

P problems, N samples, R rows (one per right class of a problem), J rival classes, D half the points of the circle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from timetrial.statistics.choice import whole_pool_value
from timetrial.statistics.table import FloatArray, IntArray, VoteTable

ComplexArray = np.ndarray[Any, np.dtype[np.complex128]]

_NEGLIGIBLE = 1e-18  # of a probability: far below the rounding of a sum of probabilities
_CHUNK_ELEMENTS = 1 << 17  # of complex numbers: what stays in a core's cache


def majority_at_k(table: VoteTable, ks: Sequence[int]) -> FloatArray:
    """Return the exact expected accuracy of a majority vote of k samples for each problem, (P, K).

    Raises:
        ValueError: a k is below 1 or above N.
    """
    table.check_ks(ks)
    rows = _right_classes(table)
    values = np.empty((len(table.problems), len(ks)))
    for column, k in enumerate(ks):
        if k == table.num_samples:
            values[:, column] = whole_pool_value(table)
        else:
            wins = _win_probability(rows, table.num_samples, k)
            values[:, column] = np.bincount(rows.problem, weights=wins, minlength=len(values))
    return np.clip(values, 0, 1)  # rounding may leave 1 by 1e-14


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """The right answer classes of all problems, each with its rivals."""

    problem: IntArray
    """(R,) row of the problem in the table."""
    own: IntArray
    """(R,) samples in the class."""
    rivals: IntArray
    """(R, J) samples in each other class of the problem, largest first, 0 where there is none."""


def _right_classes(table: VoteTable) -> _Rows:
    num_problems, num_classes = table.correct.shape
    slots = table.classes + 1 + np.arange(num_problems)[:, None] * (num_classes + 1)
    sizes = np.bincount(slots.ravel(), minlength=num_problems * (num_classes + 1))
    sizes = sizes.reshape(num_problems, num_classes + 1)[:, 1:]
    problem, right = np.nonzero(table.correct & (sizes > 0))
    rivals = sizes[problem]
    rivals[np.arange(len(problem)), right] = 0
    return _Rows(problem=problem, own=sizes[problem, right], rivals=-np.sort(-rivals, axis=1))


def _win_probability(rows: _Rows, num_samples: int, k: int) -> FloatArray:
    """Return the probability that each row's class wins the vote of a random k-subset, (R,)."""
    share = k / num_samples
    binomial = _binomial_table(num_samples, share)
    unit, weights = _circle(binomial[num_samples], k)
    half = np.arange(len(weights))
    # Row s of these tables, (N + 1, D), is a class of s samples: any number of them chosen, fewer than m, exactly m.
    any_number = np.ones((num_samples + 1, len(half)), dtype=np.complex128)
    any_number[1:] = np.cumprod(np.tile(1 - share + share * unit[half], (num_samples, 1)), axis=0)
    fewer = np.zeros_like(any_number)
    total = np.zeros((len(rows.own), len(half)), dtype=np.complex128)
    for m in range(1, k + 1):
        fewer += binomial[:, m - 1, None] * unit[half * (m - 1) % len(unit)]
        exactly = binomial[:, m, None] * unit[half * m % len(unit)]
        mass = binomial[rows.own, m] * binomial[num_samples - rows.own, k - m] / binomial[num_samples, k]
        for chunk, rivals in _chunks(rows.rivals, np.flatnonzero(mass > _NEGLIGIBLE), m, k // m, len(half)):
            own = rows.own[chunk]
            num_free = num_samples - own - rivals.sum(axis=1)
            total[chunk] += exactly[own] * any_number[num_free] * _all_lose(rivals, fewer, exactly, k // m)
    coefficient = (total * unit[-half * k % len(unit)]).real @ weights
    return np.asarray(coefficient / binomial[num_samples, k])


def _binomial_table(num_samples: int, share: float) -> FloatArray:
    """Return the probability of i successes in s trials of probability `share`, (N + 1, N + 1), row s, column i."""
    table = np.zeros((num_samples + 1, num_samples + 1))
    table[0, 0] = 1
    for trials in range(1, num_samples + 1):
        table[trials] = (1 - share) * table[trials - 1]
        table[trials, 1:] += share * table[trials - 1, :-1]
    return table


def _circle(binomial: FloatArray, k: int) -> tuple[ComplexArray, FloatArray]:
    """Return the roots of unity of the Fourier sum and the weights of the first half of them.

    The sum with n roots also picks up the coefficients of x^(k + n), x^(k - n), ...; no coefficient exceeds
    `binomial`, the distribution of N trials, so n is large enough once what it picks up is negligible beside `k`.
    """
    relevant = np.flatnonzero(binomial > _NEGLIGIBLE * binomial[k])
    num_roots = int(max(relevant[-1] - k, k - relevant[0])) + 1
    unit = np.exp(2j * np.pi * np.arange(num_roots) / num_roots)
    half = np.arange(num_roots // 2 + 1)
    # The other half is the complex conjugate of this one.
    return unit, np.where((half == 0) | (2 * half == num_roots), 1.0, 2.0) / num_roots


def _chunks(
    rivals: IntArray, rows: IntArray, m: int, max_leaders: int, width: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield some of `rows` at a time, (n,), with the sizes of their rivals that can reach m votes, (n, J), else 0.

    Rows with more rivals come first, so that those with a j-th rival are always a prefix.
    """
    able = np.where(rivals[rows] >= m, rivals[rows], 0)
    num_able = (able > 0).sum(axis=1)
    order = np.argsort(-num_able, kind="stable")
    start = 0
    while start < len(order):
        most = int(num_able[order[start]])
        step = max(1, _CHUNK_ELEMENTS // (width * _num_nodes(most, max_leaders)))
        chosen = order[start : start + step]
        yield rows[chosen], able[chosen, :most]
        start += step


def _num_nodes(num_rivals: int, max_leaders: int) -> int:
    """Return how many Gauss-Legendre nodes integrate all powers of y that can occur: q nodes do 2 q - 1."""
    return min(num_rivals, max_leaders - 1) // 2 + 1


def _all_lose(rivals: IntArray, fewer: ComplexArray, exactly: ComplexArray, max_leaders: int) -> ComplexArray:
    """Return the factor of the rivals, `rivals` (n, J), that lose the vote or its tie-break, (n, D)."""
    nodes, node_weights = np.polynomial.legendre.leggauss(_num_nodes(rivals.shape[1], max_leaders))
    y = (nodes[:, None] + 1) / 2
    product = np.ones((len(rivals), len(y), fewer.shape[1]), dtype=np.complex128)
    for sizes in rivals.T:
        present = sizes[: np.count_nonzero(sizes)]
        product[: len(present)] *= fewer[present, None] + y * exactly[present, None]
    return np.asarray(np.einsum("q,nqd->nd", node_weights / 2, product))
