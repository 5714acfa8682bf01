"""Stage 5 on disk: read a run's grades, scores, counts and timings, compute the curves, write curves.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from timetrial.analysis import analysis_to_json
from timetrial.config import RunConfig, TimingGrid
from timetrial.engines import OWN_ENGINE
from timetrial.progress import ProgressFactory, silent
from timetrial.protocol import Aggregator, WeighingAggregator
from timetrial.record import Count, Grade, StepScores, Timing, to_json
from timetrial.replay_record import replay_to_json
from timetrial.spec import AggregatorSpec
from timetrial.stages.compare import ComparisonSettings
from timetrial.stages.curves import CurveSet, CurveSettings, compute_curves
from timetrial.stages.deadline_values import DeadlineSettings
from timetrial.stages.derive_replay import REPLAY_FILE, ReplaySource, make_replay
from timetrial.stages.pools import CountPool, VotePool, collect_counts, collect_votes
from timetrial.stages.times import TimingRows
from timetrial.stages.verifier_rows import verifier_rows, why_untimed
from timetrial.store import RunFolder

CURVES_FILE = "curves.json"

Sampled = TypeVar("Sampled", Grade, StepScores)


def write_curves(
    folder: RunFolder,
    config: RunConfig,
    aggregators: Mapping[str, AggregatorSpec],
    progress: ProgressFactory = silent,
) -> None:
    """Compute and store the curves of a run and its replay; of a run that only timed, neither.

    Raises:
        UsageError: there are samples, but nothing to make a curve of.
    """
    pools = collect_pools(folder, config)
    if not pools:
        folder.write_json(CURVES_FILE, {"curves": [], "analysis": {}})
        return
    settings = CurveSettings(
        reduction=config.reduction,
        seed=config.seed,
        comparison=ComparisonSettings(seed=config.seed),
    )
    rules = make_rules(aggregators, config.gamma)
    ks, timings = curve_ks(config.samples), current_rows(folder, config, pools)
    made = compute_curves(
        pools,
        rules,
        ks,
        timings,
        settings,
        progress,
    )
    folder.write_json(CURVES_FILE, curves_to_json(made))
    source = ReplaySource(
        folder=folder,
        pools=pools,
        mapped=timings.generation,
        verifier=next(iter(timings.verifier.values()), ()),  # one run's: the same for all of its models
        ks=ks,
        num_samples=config.samples,
        settings=DeadlineSettings(seed=config.seed, reduction=config.reduction),
    )
    folder.write_json(REPLAY_FILE, replay_to_json(make_replay(source, rules, progress)))


def make_rules(aggregators: Mapping[str, AggregatorSpec], gamma: float) -> dict[str, Aggregator]:
    """Return the aggregators by name, those that add scores up with the power `gamma`."""
    made = {name: spec.make() for name, spec in aggregators.items()}
    return {
        name: rule.with_gamma(gamma) if isinstance(rule, WeighingAggregator) else rule for name, rule in made.items()
    }


def curves_to_json(made: CurveSet) -> dict[str, object]:
    """Return what curves.json holds."""
    return {
        "curves": [to_json(curve) for curve in made.curves],
        "analysis": analysis_to_json(made.analysis),
    }


def collect_pools(folder: RunFolder, config: RunConfig) -> list[VotePool | CountPool]:
    """Return the vote and count tables of the run's series. Greedy series have one sample, others `config.samples`."""
    pools: list[VotePool | CountPool] = []
    if folder.has(Grade):
        for is_greedy in (True, False):
            pools += collect_votes(
                _of(folder, Grade, is_greedy),
                _of(folder, StepScores, is_greedy),
                num_samples=1 if is_greedy else config.samples,
                reduction=config.reduction,
            )
    if folder.has(Count):
        pools += collect_counts(folder.read(Count), num_samples=config.samples)
    return pools


def curve_ks(samples: int) -> tuple[int, ...]:
    """Return the numbers of samples a curve is drawn at: the powers of two up to N, and N."""
    powers = [2**power for power in range(samples.bit_length()) if 2**power <= samples]
    return tuple(sorted({*powers, samples}))


def current_timings(folder: RunFolder, grid: TimingGrid | None) -> list[Timing]:
    """Return the timings that belong together: of the models' own engines at the grid's lengths, on one machine.

    It is the machine that timed them last. Lengths that the grid leaves open are those of the first row: what else was
    timed tells how a step grows with the context, and nothing of T*(k).
    """
    rows = [row for row in folder.read(Timing) if row.engine == OWN_ENGINE]
    if not rows:
        return []
    prompt_tokens = (grid.prompt_tokens if grid else ()) or (rows[0].prompt_tokens,)
    new_tokens = (grid.new_tokens if grid else None) or rows[0].new_tokens
    rows = [row for row in rows if row.prompt_tokens in prompt_tokens and row.new_tokens == new_tokens]
    return [row for row in rows if row.environment == rows[-1].environment]


def current_rows(folder: RunFolder, config: RunConfig, pools: Sequence[VotePool | CountPool]) -> TimingRows:
    """Return the timings that belong together, of models and of reward models, and why those of others are missing."""
    generation = current_timings(folder, config.grid)
    environment = generation[0].environment if generation else None
    verifier = verifier_rows(folder, environment)
    votes = [pool for pool in pools if isinstance(pool, VotePool)]
    scored = dict.fromkeys(name for pool in votes for name in pool.scored)
    timed = {row.reward_model for row in verifier if row.status == "ok" and not row.is_warmup}
    return TimingRows(
        generation=generation,
        verifier={pool.series.model: verifier for pool in votes},
        untimed={name: why_untimed(folder, name, environment) for name in scored if name not in timed and generation},
    )


def _of(folder: RunFolder, kind: type[Sampled], is_greedy: bool) -> Iterator[Sampled]:
    return (record for record in folder.read(kind) if (record.temperature == 0) is is_greedy)
