"""Stage 5: the quality of every rule at every k, with error bars, mapped to seconds, and compared. Pure: no files."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from timetrial.accounting import WITH_VERIFIER
from timetrial.analysis import Analysis, PoolFacts, SkippedRule, UntimedVerifier
from timetrial.error import UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial.protocol import Aggregator
from timetrial.record import Curve
from timetrial.stages.compare import ComparisonSettings, ProblemCurve, compare
from timetrial.stages.estimates import NoEstimate, Plan, RuleEstimate, estimate_rules
from timetrial.stages.pools import CountPool, VotePool
from timetrial.stages.times import RunTimes, Seconds, TimingRows, run_times
from timetrial.statistics.bootstrap import CURVE_REPLICATES, bootstrap_mean, bootstrap_weights, percentile_interval
from timetrial.statistics.monte_carlo import DEFAULT_PERMUTATIONS
from timetrial.statistics.reduction import Reduction
from timetrial.statistics.table import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveSettings:
    """How precisely to estimate, and what to report beside the curves."""

    reduction: Reduction = "last"
    """How the step scores in the pools were reduced; recorded with the curves that use them."""
    permutations: int = DEFAULT_PERMUTATIONS
    """Per problem, for rules without a closed form."""
    replicates: int = CURVE_REPLICATES
    """For the bands of the curves."""
    seed: int = 0
    comparison: ComparisonSettings = ComparisonSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveSet:
    """What curves.json holds."""

    curves: tuple[Curve, ...]
    analysis: Analysis


def compute_curves(
    pools: Sequence[VotePool | CountPool],
    aggregators: Mapping[str, Aggregator],
    ks: Sequence[int],
    timings: TimingRows = TimingRows(),  # noqa: B008  # frozen
    settings: CurveSettings = CurveSettings(),  # noqa: B008  # frozen
    progress: ProgressFactory = silent,
) -> CurveSet:
    """Compute the curves of all pools and everything derived from them.

    Each pool gets coverage and, unless it holds counts only, every aggregator, by name: once, or once per reward model
    if it needs scores, and again with the reward model's seconds if they are known. Each pool uses those of `ks` that
    its samples allow. What cannot be computed is listed in `analysis.skipped`. A model that was not timed has curves
    without seconds.

    Raises:
        UsageError: a k is below 1, or there is nothing to make a curve of.
        PluginError: an aggregator fails or breaks its contract.
        RunError: the timings mix machines or workloads.
    """
    plan = Plan(ks=tuple(sorted(set(ks))), permutations=settings.permutations, seed=settings.seed)
    if not plan.ks or plan.ks[0] < 1:
        raise UsageError(f"k is {plan.ks[0] if plan.ks else 'not given'}: expected at least 1 sample")
    times = run_times(timings, plan.ks, replicates=settings.comparison.replicates, seed=settings.comparison.seed)
    weights = functools.lru_cache(maxsize=2)(
        functools.partial(bootstrap_weights, replicates=settings.replicates, seed=settings.seed)
    )
    curves: list[ProblemCurve] = []
    skipped: list[SkippedRule] = []
    with progress("curves", len(pools)) as advance:
        for pool in pools:
            for item in estimate_rules(pool, aggregators, plan):
                if isinstance(item, NoEstimate):
                    skipped.append(SkippedRule(**pool.series._asdict(), rule=item.rule, reason=item.reason))
                    continue
                curve = _curve(pool, item, weights(len(item.problems)), settings.reduction)
                for timed in _timed(curve, times):
                    curves.append(ProblemCurve(curve=timed, problems=item.problems, values=item.values))
            advance(1)
    if not curves:
        reasons = [f"{item.model} on {item.task}: {item.reason}" for item in skipped] or ["no sample was graded"]
        raise UsageError(f"there is nothing to make a curve of: {'; '.join(dict.fromkeys(reasons))}")
    analysis = Analysis(
        replicates=settings.comparison.replicates,
        curve_replicates=settings.replicates,
        permutations=settings.permutations,
        seed=settings.seed,
        pools=tuple(_pool_facts(pool) for pool in pools),
        skipped=tuple(skipped),
        time_tables=tuple(model.table for model in times.models.values()),
        verifier_tables=tuple(dict.fromkeys(verifier.table for verifier in times.verifiers.values())),
        untimed_verifiers=tuple(
            UntimedVerifier(reward_model=name, reason=reason) for name, reason in timings.untimed.items()
        ),
        comparisons=compare(curves, times, settings.comparison),
    )
    return CurveSet(curves=tuple(item.curve for item in curves), analysis=analysis)


def _curve(pool: VotePool | CountPool, estimate: RuleEstimate, weights: FloatArray, reduction: Reduction) -> Curve:
    interval = bootstrap_mean(estimate.values, weights)
    errors = estimate.monte_carlo_errors
    return Curve(
        **pool.series._asdict(),
        rule=estimate.rule,
        reward_model=estimate.reward_model,
        reduction=None if estimate.reward_model is None else reduction,
        gamma=estimate.gamma,
        ks=estimate.ks,
        values=tuple(interval.mean.tolist()),
        standard_errors=tuple(interval.standard_error.tolist()) if len(estimate.problems) > 1 else None,
        low=tuple(interval.low.tolist()),
        high=tuple(interval.high.tolist()),
        monte_carlo_errors=None if errors is None else tuple(errors.tolist()),
        seconds=None,
        seconds_low=None,
        seconds_high=None,
        num_problems=len(estimate.problems),
        num_samples=pool.num_samples,
    )


def _timed(curve: Curve, times: RunTimes) -> Iterator[Curve]:
    """Yield a curve with the seconds of decoding, and with those of decoding and scoring, as far as they are known."""
    yield _with_seconds(curve, times.of(curve))
    if curve.reward_model is not None:
        whole = replace(curve, accounting=WITH_VERIFIER)
        seconds = times.of(whole)
        if seconds is not None:
            yield _with_seconds(whole, seconds)


def _with_seconds(curve: Curve, seconds: Seconds | None) -> Curve:
    if seconds is None:
        return curve
    low, high = percentile_interval(seconds.replicates)
    return replace(
        curve,
        seconds=tuple(seconds.seconds.tolist()),
        seconds_low=tuple(low.tolist()),
        seconds_high=tuple(high.tolist()),
    )


def _pool_facts(pool: VotePool | CountPool) -> PoolFacts:
    facts = PoolFacts(
        **pool.series._asdict(),
        num_samples=pool.num_samples,
        num_problems=len(pool.problems),
        num_left_out=pool.num_left_out,
    )
    if isinstance(pool, CountPool):
        return facts
    return replace(
        facts,
        num_abstaining=int((pool.table.classes < 0).sum()),
        num_unknown=pool.num_unknown,
        num_split_classes=pool.num_split_classes,
        num_scored=tuple((name, len(table.problems)) for name, table in pool.scored.items()),
    )
