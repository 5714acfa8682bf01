"""Curves as figures of the registry, and back: a curve is one figure for each number of samples.

What a figure depends on goes into `Metric.params`: task, temperature, aggregator, reward model, reduction, gamma,
accounting, grader, sampling, k, the seconds of k samples and the hardware they were measured on. A key that says
nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from timetrial.accounting import GENERATION
from timetrial.record import Curve
from timetrial_registry.figures import setting, standing
from timetrial_registry.records import Metric

COVERAGE = "coverage"
ACCURACY = "accuracy"
PER_K = {
    "low": "low",
    "high": "high",
    "mc_error": "monte_carlo_errors",
    "seconds": "seconds",
    "seconds_low": "seconds_low",
    "seconds_high": "seconds_high",
}
"""Keys of a figure -> fields of a curve that hold one value for each k."""

Facts = Mapping[str, Any]  # Any: JSON-ready


def figures_of(curve: Curve, *, task_version: str | None, run_digest: str, facts: Facts) -> Iterator[Metric]:
    """Yield the figures of a curve, one for each number of samples.

    Args:
        curve: it.
        task_version: of its task, as the run records it.
        run_digest: of the run.
        facts: what else they depend on: hardware, grader, sampling.
    """
    is_coverage = curve.rule == COVERAGE
    common = {
        "task": curve.task,
        "temperature": curve.temperature,
        "aggregator": None if is_coverage else curve.rule,
        "reward_model": curve.reward_model,
        "reduction": curve.reduction,
        "gamma": None if curve.gamma == 1 else curve.gamma,
        "accounting": None if curve.accounting == GENERATION else curve.accounting,
        "num_samples": curve.num_samples,
        **facts,
    }
    for place, k in enumerate(curve.ks):
        own = {key: _at(getattr(curve, field), place) for key, field in PER_K.items()}
        params = {key: value for key, value in {**common, "k": k, **own}.items() if value is not None}
        yield Metric(
            dataset=curve.task,
            metric=COVERAGE if is_coverage else ACCURACY,
            value=curve.values[place],
            revision=task_version,
            stderr=_at(curve.standard_errors, place),
            n=curve.num_problems,
            params=params,
            run_digest=run_digest,
        )


def curves_of(metrics: Iterable[Metric], model: str) -> list[tuple[Curve, Metric]]:
    """Return the curves that a version's standing figures make up, each with one of its figures.

    Figures that are no curve's, such as somebody's perplexity, are left out.
    """
    figures = [metric for metric in standing(metrics) if _is_of_a_curve(metric)]
    grouped = [list(group) for _, group in groupby(figures, key=setting)]
    return [(_curve(group, model), group[0]) for group in grouped]


def _curve(figures: Sequence[Metric], model: str) -> Curve:
    first = figures[0]
    errors = tuple(metric.stderr for metric in figures)
    per_k = {field: tuple(metric.params.get(key) for metric in figures) for key, field in PER_K.items()}
    known = {field: None if all(value is None for value in values) else values for field, values in per_k.items()}
    values = tuple(metric.value for metric in figures)
    return Curve(
        model=model,
        task=first.dataset,
        temperature=first.params["temperature"],
        rule=first.params.get("aggregator", COVERAGE),
        reward_model=first.params.get("reward_model"),
        reduction=first.params.get("reduction"),
        gamma=first.params.get("gamma", 1.0),
        accounting=first.params.get("accounting", GENERATION),
        ks=tuple(metric.params["k"] for metric in figures),
        values=values,
        standard_errors=None if None in errors else errors,  # type: ignore[arg-type]  # none of them is None
        num_problems=first.n or 0,
        num_samples=first.params.get("num_samples", first.params["k"]),
        **(known | {end: known[end] or values for end in ("low", "high")}),
    )


def _is_of_a_curve(metric: Metric) -> bool:
    return metric.metric in (COVERAGE, ACCURACY) and {"k", "temperature", "low", "high"} <= metric.params.keys()


def _at(values: Sequence[Any] | None, place: int) -> Any:  # Any: numbers, and None
    return None if values is None else values[place]
