"""Two runs against each other: every curve of one with every curve of the other, paired by problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from timetrial.analysis import Comparison
from timetrial.catalog import Catalog
from timetrial.error import UsageError
from timetrial.record import Series
from timetrial.runner import Run
from timetrial.stages.curves import CurveSet, CurveSettings, compute_curves
from timetrial.stages.derive import collect_pools, current_rows, curve_ks, make_rules
from timetrial.stages.pools import CountPool, VotePool
from timetrial.stages.times import TimingRows


def compare_runs(run: Run, baseline: Run, catalog: Catalog) -> CurveSet:
    """Return the curves of both runs and their differences on the problems they have in common.

    A model is called "RUN: MODEL" there, since both runs may know it by the same name. Speed-ups are included if
    both were timed on the same machine.

    Raises:
        UsageError: they share no task, or no problem of a shared one.
    """
    if run.path.resolve() == baseline.path.resolve():
        raise UsageError(f"{run.path} is compared with itself: name two runs")
    found = [_found(run), _found(baseline)]
    pools = [pool for each in found for pool in each.labelled()]
    names = dict.fromkeys([*run.config.aggregators, *baseline.config.aggregators])
    made = compute_curves(
        pools,
        make_rules({name: catalog.aggregator(name) for name in names}, run.config.gamma),
        curve_ks(max(run.config.samples, baseline.config.samples)),
        _timings(found),
        CurveSettings(reduction=run.config.reduction, seed=run.config.seed),
    )
    comparisons = tuple(_between(comparison, made, run) for comparison in made.analysis.comparisons)
    if not any(comparison.differences for comparison in comparisons):
        raise UsageError(
            f"{run.path} and {baseline.path} have nothing in common to compare: expected a task, a rule and "
            "problems that both have"
        )
    return replace(made, analysis=replace(made.analysis, comparisons=comparisons))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What a run holds, its models by their own names."""

    run: Run
    pools: Sequence[VotePool | CountPool]
    rows: TimingRows

    def label(self, model: str) -> str:
        return f"{self.run.path}: {model}"

    def labelled(self) -> list[VotePool | CountPool]:
        """Return the pools, their models called as in the comparison."""
        return [
            replace(pool, series=Series(self.label(pool.series.model), pool.series.task, pool.series.temperature))
            for pool in self.pools
        ]


def _found(run: Run) -> _Found:
    pools = collect_pools(run.folder, run.config)
    return _Found(run=run, pools=pools, rows=current_rows(run.folder, run.config, pools))


def _timings(found: Sequence[_Found]) -> TimingRows:
    """Return the seconds of both runs, each with what the verifier takes for its own completions."""
    generation = [replace(row, model=each.label(row.model)) for each in found for row in each.rows.generation]
    if len({row.environment for row in generation}) != 1:
        return TimingRows()
    return TimingRows(
        generation=generation,
        verifier={each.label(model): timed for each in found for model, timed in each.rows.verifier.items()},
        untimed={name: reason for each in found for name, reason in each.rows.untimed.items()},
    )


def _between(comparison: Comparison, made: CurveSet, run: Run) -> Comparison:
    """Keep the differences between the runs, those within one out."""
    prefix = f"{run.path}: "
    kept = tuple(
        difference
        for difference in comparison.differences
        if made.curves[difference.curve].model.startswith(prefix)
        != made.curves[difference.baseline].model.startswith(prefix)
    )
    return replace(comparison, differences=kept)
