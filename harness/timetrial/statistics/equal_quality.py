"""Time to reach a level of quality, and how much sooner one curve reaches it than another.

A level that no measured k reaches is censored: its time is infinite here, and nothing is extrapolated.
Points lie along the last axis, (..., K); the leading axes are bootstrap replicates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from timetrial.statistics.bootstrap import CONFIDENCE
from timetrial.statistics.table import FloatArray


class CensoredInterval(NamedTuple):
    """A percentile interval of replicates some of which ran out of measured range."""

    low: float | None
    high: float | None
    """None: that end lies beyond what was measured."""
    censored_share: float
    """Share of the replicates in which the quantity is not a measured number."""


def time_to_reach_s(seconds: FloatArray, values: FloatArray, level: float) -> FloatArray:
    """Return the least seconds of a point worth at least `level`, (...); infinite if there is none."""
    return np.asarray(np.where(values >= level, seconds, np.inf).min(axis=-1, initial=np.inf))


def speed_up(reached_s: FloatArray, baseline_s: FloatArray) -> FloatArray:
    """Return how many times sooner a level is reached than by the baseline, (...).

    Infinite where only the baseline is censored, 0 where only the other is, nan where both are.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(baseline_s / reached_s)


def censored_interval(replicates: FloatArray) -> CensoredInterval:
    """Return the 95 % interval of `replicates` (B,), of which 0, infinity and nan count as censored.

    0 and infinity take their place in the order, so that an interval reaching them is open at that end; nan says
    nothing either way and is left out.
    """
    is_measured = np.isfinite(replicates) & (replicates > 0)
    known = replicates[~np.isnan(replicates)]
    ends: list[float | None] = [None, None]
    if len(known):
        tail = (1 - CONFIDENCE) / 2
        quantiles = np.quantile(known, [tail, 1 - tail], method="inverted_cdf")  # no arithmetic with infinities
        ends = [float(end) if 0 < end < np.inf else None for end in quantiles]
    return CensoredInterval(ends[0], ends[1], float(1 - is_measured.mean()))
