"""Which of a version's attached figures stand, where several runs measured the same.

The keys of `Metric.params` that are part of what was measured, not of the setting it was measured in, are named here;
all other keys tell settings apart: task, temperature, aggregator, reward model, reduction, hardware, ...
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

from timetrial_registry.records import Metric

SHARES: Final = ("coverage", "accuracy")
"""Metrics that are a share of the problems, between 0 and 1."""
MEASURED: Final = frozenset({"k", "low", "high", "seconds", "seconds_low", "seconds_high", "num_samples", "mc_error"})


def setting(metric: Metric) -> tuple[Any, ...]:  # Any: texts, and None
    """Return what was measured and how, apart from the number of samples: a curve's figures share it."""
    params = {name: value for name, value in metric.params.items() if name not in MEASURED}
    return metric.dataset, metric.metric, metric.revision, metric.split, json.dumps(params, sort_keys=True)


def standing(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Return one run's figures for each setting: the run of most problems, then of most samples, then the newest.

    They are sorted by data set, metric and setting, then by the number of samples.
    """
    found: list[Metric] = []
    ordered = sorted(metrics, key=lambda metric: (_sortable(setting(metric)), metric.run_digest or ""))
    for _, alike in groupby(ordered, key=setting):
        runs = [list(run) for _, run in groupby(alike, key=lambda metric: metric.run_digest)]
        best = max(runs, key=lambda run: max(map(_weight, run)))
        found += sorted(best, key=lambda metric: metric.params.get("k") or 0)
    return tuple(found)


def _weight(metric: Metric) -> tuple[int, int, str]:
    return metric.n or 0, metric.params.get("num_samples") or 0, metric.at or ""


def _sortable(parts: tuple[Any, ...]) -> tuple[str, ...]:  # Any: texts, and None
    return tuple(part or "" for part in parts)
