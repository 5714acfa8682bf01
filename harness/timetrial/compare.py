"""Two runs against each other: every curve of one with every curve of the other, paired by problem."""

from __future__ import annotations

from dataclasses import replace

from timetrial.analysis import Comparison
from timetrial.catalog import Catalog
from timetrial.error import UsageError
from timetrial.record import Series, Timing
from timetrial.runner import Run
from timetrial.stages.curves import CurveSet, CurveSettings, compute_curves
from timetrial.stages.derive import collect_pools, current_timings, curve_ks
from timetrial.stages.pools import CountPool, VotePool


def compare_runs(run: Run, baseline: Run, catalog: Catalog) -> CurveSet:
    """Return the curves of both runs and their differences on the problems they have in common.

    A model is called "RUN: MODEL" there, since both runs may know it by the same name. Speed-ups are included if
    both were timed on the same machine.

    Raises:
        UsageError: they share no task, or no problem of a shared one.
    """
    if run.path.resolve() == baseline.path.resolve():
        raise UsageError(f"{run.path} is compared with itself: name two runs")
    pools = [*_pools(run), *_pools(baseline)]
    names = dict.fromkeys([*run.config.aggregators, *baseline.config.aggregators])
    made = compute_curves(
        pools,
        {name: catalog.aggregator(name).make() for name in names},
        curve_ks(max(run.config.samples, baseline.config.samples)),
        _timings(run, baseline),
        CurveSettings(reduction=run.config.reduction, seed=run.config.seed),
    )
    comparisons = tuple(_between(comparison, made, run) for comparison in made.analysis.comparisons)
    if not any(comparison.differences for comparison in comparisons):
        raise UsageError(
            f"{run.path} and {baseline.path} have nothing in common to compare: expected a task, a rule and "
            "problems that both have"
        )
    return replace(made, analysis=replace(made.analysis, comparisons=comparisons))


def _label(run: Run, model: str) -> str:
    return f"{run.path}: {model}"


def _pools(run: Run) -> list[VotePool | CountPool]:
    return [
        replace(pool, series=Series(_label(run, pool.series.model), pool.series.task, pool.series.temperature))
        for pool in collect_pools(run.folder, run.config)
    ]


def _timings(*runs: Run) -> list[Timing]:
    rows = [
        replace(row, model=_label(run, row.model))
        for run in runs
        for row in current_timings(run.folder, run.config.grid)
    ]
    return rows if len({row.environment for row in rows}) == 1 else []


def _between(comparison: Comparison, made: CurveSet, run: Run) -> Comparison:
    """Keep the differences between the runs, those within one out."""
    prefix = _label(run, "")
    kept = tuple(
        difference
        for difference in comparison.differences
        if made.curves[difference.curve].model.startswith(prefix)
        != made.curves[difference.baseline].model.startswith(prefix)
    )
    return replace(comparison, differences=kept)
