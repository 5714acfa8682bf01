"""What replay says of completions that were generated end to end, beside the wall clock they took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from timetrial.record import EndToEnd
from timetrial.replay_record import Validation
from timetrial.stages.step_fits import ModelSteps
from timetrial.statistics.subset_seconds import seconds_of


def validations(rows: Iterable[EndToEnd], environment: str, models: Mapping[str, ModelSteps]) -> Iterator[Validation]:
    """Yield one comparison per series, number of samples and problem measured in the environment of the timings.

    Left out are models whose steps are not known, and more samples than their largest batch.
    """
    measured: dict[tuple[object, ...], list[EndToEnd]] = {}
    for row in rows:
        if row.environment == environment and not row.is_warmup and row.model in models:
            measured.setdefault((row.series, row.num_samples, row.problem), []).append(row)
    for repeats in measured.values():
        steps = models[repeats[0].model]
        if repeats[0].num_samples <= steps.steps.largest:
            yield _validation(repeats, steps)


def _validation(repeats: list[EndToEnd], model: ModelSteps) -> Validation:
    first = repeats[0]
    wall_s = [row.wall_s for row in repeats]
    static_s, compact_s = (
        statistics.median(seconds_of(model.steps, mode, row.num_prompt_tokens, row.lengths) for row in repeats)
        for mode in ("static", "compact")
    )
    slowdown = statistics.median(row.reference_s / _reference_s(model, row) for row in repeats)
    prefill_s = _prefill_s(model, first.num_samples, first.num_prompt_tokens)
    return Validation(
        **first.series._asdict(),
        problem=first.problem,
        num_samples=first.num_samples,
        num_repeats=len(repeats),
        wall_s=statistics.median(wall_s),
        fastest_s=min(wall_s),
        slowest_s=max(wall_s),
        static_s=prefill_s + static_s,
        compact_s=prefill_s + compact_s,
        prefill_s=prefill_s,
        slowdown=slowdown,
    )


def _reference_s(model: ModelSteps, row: EndToEnd) -> float:
    """Return what the grid's batch took when the run was timed."""
    prompt_tokens, steps = np.array(row.reference_prompt_tokens), np.array(row.reference_new_tokens)
    return float(model.steps.lasting_s(row.num_samples, prompt_tokens, steps)[0])


def _prefill_s(model: ModelSteps, samples: int, prompt_tokens: int) -> float:
    fixed_s, per_token_s = model.prefill.at([samples])
    return float(np.asarray(fixed_s + per_token_s * prompt_tokens)[0])
