"""Seconds of one decode step by batch size and context, fitted to timed batches.

    tau(b, L) = a(b) + c(b) L          affine in the batch too:  tau(b, L) = w0 + w1 b + w2 b L

A batch of b sequences that is timed for G steps after a prompt of P tokens has contexts P + 1 to P + G. tau is linear
in the context, so its seconds are G tau(b, P + (G + 1)/2): a timed batch says what one step takes at its mean context.
Prompts of one length alone cannot tell a from c. Between measured batches a and c are linear in b; fewer sequences
than the smallest measured batch take as long as it does, and above the largest there is nothing.
S measured batches, n points.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from timetrial.statistics.table import FloatArray

Form = Literal["affine", "piecewise"]
LARGEST_AFFINE_RESIDUAL = 0.05
"""A fit that is further off than this, at any measured batch, gives way to interpolation between the batches."""
LEAST_CONTEXT_SPAN = 1.25
"""Contexts that are closer than this factor cannot tell growth from noise."""


class TimedStep(NamedTuple):
    """What one step of a batch took."""

    batch: int
    context: float
    """Tokens, the mean over the steps that were timed."""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSeconds:
    """tau(b, L) of one model."""

    batches: tuple[int, ...]
    """Batches that were measured, ascending."""
    fixed_s: tuple[float, ...]
    """a at each of them."""
    per_token_s: tuple[float, ...]
    """c at each of them: seconds per token of context."""

    @property
    def largest(self) -> int:
        """The largest batch there are seconds for."""
        return self.batches[-1]

    def at(self, sizes: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """Return a and c at batch sizes, shaped as they are.

        Raises:
            ValueError: a size is below 1 or above the largest measured batch.
        """
        asked = np.asarray(sizes)
        if asked.size and not 1 <= asked.min() <= asked.max() <= self.largest:
            raise ValueError(f"batches of {asked.min()} to {asked.max()} were asked for, of 1 to {self.largest}")
        return np.interp(asked, self.batches, self.fixed_s), np.interp(asked, self.batches, self.per_token_s)

    def lasting_s(self, size: int, prompt_tokens: FloatArray, steps: FloatArray) -> FloatArray:
        """Return the seconds of the first `steps` steps of a batch after prompts of some tokens; shapes broadcast."""
        fixed_s, per_token_s = self.at([size])
        return np.asarray(fixed_s * steps + per_token_s * context_sum(prompt_tokens, steps))


def context_sum(prompt_tokens: FloatArray, steps: FloatArray) -> FloatArray:
    """Return the sum of the contexts P + 1, ..., P + t of `steps` t; shapes broadcast."""
    return np.asarray(prompt_tokens * steps + steps * (steps + 1) / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedSteps:
    """tau as fitted, and how far it is from what was measured."""

    steps: StepSeconds
    form: Form
    weights: tuple[float, float, float] | None
    """w0, w1 and w2 of the affine form, in seconds; None if one batch alone was measured."""
    largest_residual: float
    """Of the form in use, relative to what was measured."""
    affine_residual: float | None
    """Of the affine form, in use or not."""


def fit_steps(points: Iterable[TimedStep], *, grows_with_context: bool) -> FittedSteps:
    """Fit tau by least relative squares with weights of 0 or more: affine if that is good enough, else by batch.

    `grows_with_context` False sets w2 and c to 0. Every batch needs points at two contexts, else at one.

    Raises:
        ValueError: there is no point, or a batch has too few contexts.
    """
    timed = sorted(points)
    batches = tuple(sorted({point.batch for point in timed}))
    if not batches:
        raise ValueError("there are no timed steps to fit")
    if grows_with_context:
        for batch in batches:
            if not spans_contexts(point.context for point in timed if point.batch == batch):
                raise ValueError(f"batch {batch} was timed at one context only, so its growth is not known")
    by_batch = _by_batch(timed, batches, grows_with_context)
    exact = FittedSteps(
        steps=by_batch,
        form="piecewise",
        weights=None,
        largest_residual=_largest_residual(by_batch, timed),
        affine_residual=None,
    )
    if len(batches) < 2:
        return exact
    weights = _affine_weights(timed, grows_with_context)
    affine = StepSeconds(
        batches=batches,
        fixed_s=tuple(weights[0] + weights[1] * batch for batch in batches),
        per_token_s=tuple(weights[2] * batch for batch in batches),
    )
    residual = _largest_residual(affine, timed)
    is_good = residual <= LARGEST_AFFINE_RESIDUAL
    return FittedSteps(
        steps=affine if is_good else by_batch,
        form="affine" if is_good else "piecewise",
        weights=weights,
        largest_residual=residual if is_good else exact.largest_residual,
        affine_residual=residual,
    )


def spans_contexts(contexts: Iterable[float]) -> bool:
    """Whether contexts lie far enough apart to tell how a step grows with them."""
    known = list(contexts)
    return bool(known) and max(known) >= LEAST_CONTEXT_SPAN * min(known)


def _by_batch(points: Sequence[TimedStep], batches: Sequence[int], grows: bool) -> StepSeconds:
    fitted = []
    for batch in batches:
        mine = [point for point in points if point.batch == batch]
        columns = [[1.0, point.context if grows else 0.0] for point in mine]
        fitted.append(_least_relative_squares(np.array(columns), np.array([point.seconds for point in mine])))
    return StepSeconds(
        batches=tuple(batches),
        fixed_s=tuple(float(weights[0]) for weights in fitted),
        per_token_s=tuple(float(weights[1]) for weights in fitted),
    )


def _affine_weights(points: Sequence[TimedStep], grows: bool) -> tuple[float, float, float]:
    columns = [[1.0, point.batch, point.batch * point.context if grows else 0.0] for point in points]
    w0, w1, w2 = _least_relative_squares(np.array(columns), np.array([point.seconds for point in points])).tolist()
    return w0, w1, w2


def _least_relative_squares(columns: FloatArray, targets: FloatArray) -> FloatArray:
    """Return the weights of 0 or more, (m,), that miss `targets` (n,) least, relative to them; `columns` (n, m).

    m is at most 3, so the weights that are not 0 are found by trying all choices of them.
    """
    relative = columns / targets[:, None]
    scale = np.maximum(relative.max(axis=0), np.finfo(float).tiny)
    best, least = np.zeros(columns.shape[1]), np.inf
    for chosen in itertools.product((False, True), repeat=columns.shape[1]):
        mask = np.array(chosen)
        weights = np.zeros(len(mask))
        if mask.any():
            scaled = np.linalg.lstsq(relative[:, mask] / scale[mask], np.ones(len(targets)), rcond=None)[0]
            weights[mask] = scaled / scale[mask]
        missed = float(((relative @ weights - 1) ** 2).sum())
        if (weights >= 0).all() and missed < least - 1e-15:
            best, least = weights, missed
    return best


def _largest_residual(steps: StepSeconds, points: Sequence[TimedStep]) -> float:
    fitted = [float(steps.lasting_s(point.batch, np.array(point.context - 1), np.array(1.0))[0]) for point in points]
    return max(abs(seconds / point.seconds - 1) for seconds, point in zip(fitted, points, strict=True))
