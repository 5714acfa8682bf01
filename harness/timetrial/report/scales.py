"""Models of one size: what the paper's figures 2a and 2b keep apart, each with the model that speed-ups are over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from timetrial.report.data import ReportData
from timetrial.report.grid import Cell, timing_cells
from timetrial.report.speed_ups import BatchSpeedUp, batch_speed_ups

_SCALES = ((0.9e9, "below 1B"), (2e9, "1B scale"), (5e9, "3B scale"), (12e9, "8B scale"))
"""Parameters up to which a model is of a scale; the paper's "3B" reaches from Llama-3.2-3B to Llamba-4B."""
_LARGER, _UNKNOWN = "above 12B", "size unknown"


class Scale(NamedTuple):
    """The timed models of one size."""

    name: str
    """Empty if all models of the run are of one size."""
    models: tuple[str, ...]
    baseline: str


def model_scales(report: ReportData) -> tuple[Scale, ...]:
    """Group the timed models by size."""
    sizes = _parameters(report)
    return group_by_size({timing.model: sizes.get(timing.model) for timing in report.timings}, report.asked_baseline)


def group_by_size(parameters: Mapping[str, int | None], asked_baseline: str | None) -> tuple[Scale, ...]:
    """Group models by their number of parameters, sizes and models in order of appearance.

    The baseline is the one that was asked for, in the group that holds it, and the first model in the others.
    """
    groups: dict[str, list[str]] = {}
    for model, number in parameters.items():
        groups.setdefault(_scale_name(number), []).append(model)
    return tuple(
        Scale(
            name=name if len(groups) > 1 else "",
            models=tuple(models),
            baseline=asked_baseline if asked_baseline in models else models[0],
        )
        for name, models in groups.items()
    )


def report_speed_ups(report: ReportData) -> tuple[BatchSpeedUp, ...]:
    """Compare all models with the baseline that was asked for, or else those of each size with their own."""
    cells = timing_cells(report.timings)
    if report.asked_baseline is not None:
        return batch_speed_ups(cells, report.asked_baseline)
    return tuple(
        each for scale in model_scales(report) for each in batch_speed_ups(cells_of(scale, cells), scale.baseline)
    )


def cells_of(scale: Scale, cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells of the models of a scale."""
    return [cell for cell in cells if cell.model in scale.models]


def _scale_name(parameters: int | None) -> str:
    if parameters is None:
        return _UNKNOWN
    return next((name for most, name in _SCALES if parameters <= most), _LARGER)


def _parameters(report: ReportData) -> dict[str, int]:
    """Return the parameters of each model, where the environment that timed it knows them."""
    return {
        model: facts["parameters"]
        for entry in report.environment.values()
        if isinstance(entry, Mapping)
        for model, facts in entry.get("models", {}).items()
        if isinstance(facts.get("parameters"), int)
    }
