"""Tables of an ablation: accuracy by reduction and power of the scores, and how good the scores are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from timetrial.ablation import Ablation, AblationPoint
from timetrial.record import Series
from timetrial.report.labels import percent, samples_label, series_label
from timetrial.report.table import Cell, Table, pivot


class Group(NamedTuple):
    """What is compared by reductions and powers."""

    series: Series
    reward_model: str
    k: int


def ablation_tables(ablation: Ablation) -> Iterator[Table]:
    """Make a table per series, reward model and k, and one of the scores."""
    for group in dict.fromkeys(map(group_of, ablation.points)):
        yield _values_table(group, [point for point in ablation.points if group_of(point) == group])
    yield _scores_table(ablation)


def group_of(point: AblationPoint) -> Group:
    """Return what the points of one table, and of one figure, have in common."""
    return Group(Series(point.model, point.task, point.temperature), point.reward_model, point.k)


def power_label(point: AblationPoint) -> str:
    """Name what becomes of the reduced scores."""
    if point.rule != "weighted":
        return point.rule
    if point.gamma is None:
        return "limit"
    return {0.0: "0 (majority)", 1.0: "1 (weighted)"}.get(point.gamma, f"{point.gamma:g}")


def _values_table(group: Group, points: Sequence[AblationPoint]) -> Table:
    references = (f"{each.rule} {_value(each)}" for each in points if each.reduction is None)
    return pivot(
        f"{group.series.task}: {series_label(group.series)}, {group.reward_model}, {samples_label(group.k)}",
        ("reduction",),
        (
            Cell((point.reduction,), power_label(point), _value(point))
            for point in points
            if point.reduction is not None
        ),
        "Percent of problems solved when the scores to the power gamma are added up; limit: only the largest "
        "counts. In brackets: 95 % interval over problems. Monte Carlo error: at most "
        f"{percent(max(point.monte_carlo_error for point in points))} points. Without scores: {', '.join(references)}.",
    )


def _value(point: AblationPoint) -> str:
    return f"{percent(point.value)} ({100 * point.low:.0f}-{100 * point.high:.0f})"


def _scores_table(ablation: Ablation) -> Table:
    return Table(
        title="What the scores tell",
        columns=("model", "task", "reward model", "reduction", "AUC within a problem", "score and length", "within"),
        rows=tuple(
            (
                series_label(Series(each.model, each.task, each.temperature)),
                each.task,
                each.reward_model,
                each.reduction,
                "-"
                if each.auc is None or each.auc_low is None or each.auc_high is None
                else f"{each.auc:.3f} ({each.auc_low:.3f} to {each.auc_high:.3f})",
                _signed(each.length_correlation),
                _signed(each.within_length_correlation),
            )
            for each in ablation.scores
        ),
        num_text_columns=4,
        note="AUC: the chance that a right sample is scored above a wrong one of the same problem, over the problems "
        "that have both; 0.5 is guessing. Then the correlation of score and length "
        f"({', '.join(dict.fromkeys(each.length_unit for each in ablation.scores))}) over all samples with an answer, "
        "and with each problem's means taken off.",
    )


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
