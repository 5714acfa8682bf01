"""From timing rows to the seconds of one step of each model, or to the reason why they do not tell."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from timetrial.engines import OWN_ENGINE
from timetrial.record import Timing
from timetrial.replay_record import Missing, StepFit
from timetrial.statistics.step_seconds import FittedSteps, StepSeconds, TimedStep, fit_steps, spans_contexts

CURE = "`timetrial replay RUN --time` measures what is missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSteps:
    """What the steps and the prefill of one model take."""

    fit: StepFit
    steps: StepSeconds
    prefill: StepSeconds
    """Seconds from a prompt to a batch that is ready to decode, as a function of batch and prompt tokens."""


class StepFits(NamedTuple):
    """The models whose steps are known, and why others are not."""

    models: Mapping[str, ModelSteps]
    missing: tuple[Missing, ...]


class _Cell(NamedTuple):
    """The median of the timed repeats of one batch after prompts of one length."""

    decode: TimedStep
    prefill: TimedStep


def fit_models(timings: Iterable[Timing], environment: str) -> StepFits:
    """Fit the seconds of a step of every model that the rows of one environment are about.

    A batch is used if it was timed at two contexts or more, and never ran out of memory: replay meets them all.
    """
    rows: dict[str, list[Timing]] = {}
    for row in timings:
        if row.environment == environment and row.engine == OWN_ENGINE:
            rows.setdefault(row.model, []).append(row)
    models: dict[str, ModelSteps] = {}
    missing: list[Missing] = []
    for model, mine in rows.items():
        cells = _usable_cells(mine)
        if cells:
            models[model] = _model_steps(model, environment, mine, cells)
        else:
            missing.append(Missing(what=model, reason=_why_none(mine)))
    return StepFits(models, tuple(missing))


def _usable_cells(rows: Sequence[Timing]) -> list[_Cell]:
    """Return the cells of the batches that tell how a step grows with the context."""
    repeats: dict[tuple[int, int, int], list[Timing]] = {}
    for row in rows:
        if row.status == "ok" and not row.is_warmup and not row.is_prompt_shared:
            repeats.setdefault((row.batch, row.prompt_tokens, row.new_tokens), []).append(row)
    failed = min((row.batch for row in rows if row.status == "out_of_memory"), default=None)
    by_batch: dict[int, list[_Cell]] = {}
    for (batch, prompt_tokens, new_tokens), timed in repeats.items():
        if failed is None or batch < failed:
            by_batch.setdefault(batch, []).append(_cell(batch, prompt_tokens, new_tokens, timed))
    return [
        cell for cells in by_batch.values() if spans_contexts(cell.decode.context for cell in cells) for cell in cells
    ]


def _cell(batch: int, prompt_tokens: int, new_tokens: int, rows: Sequence[Timing]) -> _Cell:
    decode_s = statistics.median(row.decode_s for row in rows if row.decode_s is not None)
    prefill_s = statistics.median(row.prefill_s for row in rows if row.prefill_s is not None)
    return _Cell(
        decode=TimedStep(batch, prompt_tokens + (new_tokens + 1) / 2, decode_s / new_tokens),
        prefill=TimedStep(batch, prompt_tokens, prefill_s),
    )


def _model_steps(model: str, environment: str, rows: Sequence[Timing], cells: Sequence[_Cell]) -> ModelSteps:
    grows = _grows_with_context(rows)
    fitted = fit_steps([cell.decode for cell in cells], grows_with_context=grows)
    return ModelSteps(
        fit=_record(model, environment, fitted, grows, sorted({cell.decode.context for cell in cells})),
        steps=fitted.steps,
        prefill=_fit_prefill(cells),
    )


def _fit_prefill(cells: Sequence[_Cell]) -> StepSeconds:
    """Fit prefill the same way: a prompt twice as long takes at most twice as long where it is not measured."""
    points = [cell.prefill for cell in cells]
    lengths = {point.batch: [other.context for other in points if other.batch == point.batch] for point in points}
    is_known = all(spans_contexts(known) for known in lengths.values())
    return fit_steps(points, grows_with_context=is_known).steps


def _grows_with_context(rows: Sequence[Timing]) -> bool:
    """Tell by the bytes of a step where they are known; a fit decides where they are not."""
    by_batch: dict[int, set[float]] = {}
    for row in rows:
        if row.step_bytes is None:
            return True
        by_batch.setdefault(row.batch, set()).add(row.step_bytes)
    return any(max(known) > min(known) for known in by_batch.values())


def _record(model: str, environment: str, fitted: FittedSteps, grows: bool, contexts: Sequence[float]) -> StepFit:
    return StepFit(
        model=model,
        environment=environment,
        form=fitted.form,
        weights=fitted.weights,
        grows_with_context=grows,
        batches=fitted.steps.batches,
        fixed_s=fitted.steps.fixed_s,
        per_token_s=fitted.steps.per_token_s,
        contexts=tuple(contexts),
        largest_residual=fitted.largest_residual,
        affine_residual=fitted.affine_residual,
    )


def _why_none(rows: Sequence[Timing]) -> str:
    if any(row.is_prompt_shared for row in rows):
        return (
            "its steps were timed with a prompt that the batch shares, so prompts of several lengths do not tell how "
            "a step grows with the tokens that each sequence adds: time it without"
        )
    timed = sorted({row.prompt_tokens for row in rows if row.status == "ok" and not row.is_warmup})
    if not timed:
        return "no batch fitted in memory"
    lengths = ", ".join(f"{length:,}" for length in timed)
    return (
        f"one context only: its batches were timed after prompts of {lengths} tokens, which does not tell how a step "
        f"grows with the context; {CURE}"
    )
