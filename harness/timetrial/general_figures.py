"""Figures of general benchmarks and of greedy answers in the registry: written from results, read back as scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from timetrial.general_record import GeneralResult
from timetrial_registry.figures import standing
from timetrial_registry.records import Metric

LM_EVAL = "lm_eval"
"""The key of `Metric.params` that holds lm-eval's version, and by which its figures are known."""
GREEDY = "acc@1"
"""What distillation calls the share of problems whose greedy answer is right."""
CURVE_METRICS = ("coverage", "accuracy")
"""Of one greedy sample both are acc@1, whatever the rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One figure of a checkpoint."""

    value: float
    standard_error: float | None
    num_items: int | None
    """Problems or documents; None if unknown."""


def figure_of(result: GeneralResult, *, run_digest: str) -> Metric | None:
    """Return the registry's figure of a result; None if lm-eval gave no number."""
    if result.value is None:
        return None
    return Metric(
        dataset=result.task,
        metric=result.metric,
        value=result.value,
        revision=result.task_version,
        stderr=result.standard_error,
        n=result.num_docs,
        params={
            LM_EVAL: result.lm_eval_version,
            "kind": result.kind,
            "filter": result.filter,
            "num_fewshot": result.num_fewshot,
            "limit": result.limit,
            "chat_template": result.chat_template,
            "task_hash": result.task_hash,
        },
        run_digest=run_digest,
    )


def general_scores(metrics: Iterable[Metric]) -> dict[str, Score]:
    """Return lm-eval's standing figures, by what was asked and how."""
    return {general_label(metric): _score(metric) for metric in standing(metrics) if LM_EVAL in metric.params}


def reasoning_scores(metrics: Iterable[Metric]) -> dict[str, Score]:
    """Return acc@1, the share of problems whose greedy answer is right, by task.

    Where it was measured several times, that of most problems stands, then the one attached last.
    """
    best: dict[str, Metric] = {}
    for metric in sorted(filter(_is_greedy, metrics), key=lambda metric: (metric.n or 0, metric.at or "")):
        best[metric.dataset] = metric
    return {task: _greedy_score(metric) for task, metric in sorted(best.items())}


def general_label(metric: Metric) -> str:
    """Name one of lm-eval's figures by its task, metric and setting: "mmlu acc, 5-shot, chat"."""
    params = metric.params
    filtered = "" if params.get("filter") in (None, "none") else f" ({params['filter']})"
    shots = f", {params['num_fewshot']}-shot" if params.get("num_fewshot") else ""
    limited = f", limit {params['limit']:g}" if params.get("limit") is not None else ""
    return (
        f"{metric.dataset} {metric.metric}{filtered}{shots}{limited}{', chat' if params.get('chat_template') else ''}"
    )


def groups(metrics: Iterable[Metric]) -> set[str]:
    """Return the labels of those figures that sum a group of tasks up."""
    return {general_label(metric) for metric in metrics if metric.params.get("kind") == "group"}


def _is_greedy(metric: Metric) -> bool:
    params: Mapping[str, object] = metric.params
    if params.get("temperature") != 0:
        return False
    return metric.metric == GREEDY or (metric.metric in CURVE_METRICS and params.get("k") == 1)


def _score(metric: Metric) -> Score:
    return Score(value=metric.value, standard_error=metric.stderr, num_items=metric.n)


def _greedy_score(metric: Metric) -> Score:
    """Return a share of problems; one without its standard error has that of so many independent yes or no."""
    error = metric.stderr
    if error is None and metric.n is not None and metric.n > 1:
        error = math.sqrt(metric.value * (1 - metric.value) / (metric.n - 1))
    return Score(value=metric.value, standard_error=error, num_items=metric.n)
