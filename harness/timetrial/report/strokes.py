"""How one curve, one front and one legend key are drawn on given axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from timetrial.record import Curve, Series
from timetrial.report import canvas
from timetrial.report.labels import VERIFIER, series_label, timed_rule_label
from timetrial.report.points import Point, pareto_front, timed_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND_OPACITY = 0.11
PALE = 0.5
THIN = 0.8
_LABEL_WIDTH = 0.07  # of a figure: labels that are closer run into each other


Looks: TypeAlias = "Mapping[Series, Look]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How a curve is drawn and what the legend calls it."""

    colour: str
    marker: str
    dash: canvas.Dash
    fill: str
    label: str


def series_looks(curves: Sequence[Curve], models: Sequence[str]) -> Looks:
    """Give each model its colour and marker by its place in `models`, and each of its temperatures a dash pattern."""
    looks: dict[Series, Look] = {}
    for series in dict.fromkeys(curve.series for curve in curves):
        siblings = {curve.temperature: None for curve in curves if curve.model == series.model}
        looks[series] = numbered_look(
            models.index(series.model), list(siblings).index(series.temperature), series_label(series)
        )
    return looks


def numbered_look(colour: int, dash: int, label: str) -> Look:
    """Return the look with these numbers; more than there are start again from the first."""
    return Look(
        colour=canvas.series_colour(colour),
        marker=canvas.marker(colour),
        dash=canvas.DASHES[dash % len(canvas.DASHES)],
        fill=canvas.FILLS[dash % len(canvas.FILLS)],
        label=canvas.legend_label(label),
    )


def draw_by_samples(axes: Axes, curve: Curve, look: Look) -> None:
    """Draw a curve against the number of samples."""
    _draw(axes, curve, look, range(len(curve.ks)), curve.ks)


def draw_by_seconds(axes: Axes, curve: Curve, look: Look) -> None:
    """Draw those points of a curve that have seconds, with the interval of each time as a horizontal bar."""
    points = timed_points([curve])
    if not points:
        return
    _draw(axes, curve, look, [point.position for point in points], [point.seconds for point in points])
    axes.hlines(
        [100 * point.value for point in points],
        [point.seconds_low for point in points],
        [point.seconds_high for point in points],
        color=look.colour,
        linewidth=1,
        alpha=PALE,
    )


def draw_uncharged(axes: Axes, curve: Curve, look: Look) -> None:
    """Draw a curve whose verifier is not counted, beside the one in which it is: thin, without band and intervals."""
    points = timed_points([curve])
    axes.plot(
        [point.seconds for point in points],
        [100 * point.value for point in points],
        color=look.colour,
        linestyle=look.dash,
        linewidth=THIN,
        marker=look.marker,
        markersize=2.5,
        alpha=0.8,
    )


def add_uncharged_key(axes: Axes) -> None:
    """Add the legend entry of curves whose verifier is not counted."""
    axes.plot([], [], color=canvas.MUTED, linewidth=THIN, label="thin: verifier not counted")


def draw_front(axes: Axes, points: Sequence[Point]) -> None:
    """Draw the Pareto front of `points` as broad steps, to lie under the curves."""
    front = pareto_front(points)
    if len(front) > 1:
        seconds, values = [point.seconds for point in front], [100 * point.value for point in front]
        axes.plot(
            seconds, values, drawstyle="steps-post", color=canvas.FRONT, linewidth=6, zorder=1, label="Pareto front"
        )


def draw_marks(axes: Axes, points: Sequence[Point], looks: Looks, markers: Mapping[str, str]) -> None:
    """Draw points as marks coloured by model and shaped by `markers` (per rule label); those on the front stand out.

    Points of the front that lie close to each other share a label.
    """
    front = pareto_front(points)
    groups: dict[tuple[Series, str, bool], list[Point]] = {}
    for point in points:
        groups.setdefault((point.curve.series, timed_rule_label(point.curve), point in front), []).append(point)
    for (series, rule, is_on_front), group in groups.items():
        axes.plot(
            [point.seconds for point in group],
            [100 * point.value for point in group],
            marker=markers[rule],
            color=looks[series].colour,
            fillstyle=looks[series].fill,
            markerfacecoloralt=canvas.PAPER,
            markersize=8 if is_on_front else 4.5,
            alpha=1 if is_on_front else 0.45,
            linestyle="none",
        )
    spread = math.log(max(point.seconds for point in points) / min(point.seconds for point in points))
    for group in neighbours(front, _LABEL_WIDTH * spread):
        ks = ", ".join(map(str, dict.fromkeys(point.k for point in group)))
        axes.annotate(
            f"k={ks}",
            (group[0].seconds, 100 * group[-1].value),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=canvas.MUTED,
        )


def neighbours(front: Sequence[Point], distance: float) -> list[list[Point]]:
    """Return points in groups: each is within a distance, in logarithms of seconds, of the first of its group."""
    groups: list[list[Point]] = []
    for point in front:
        if groups and math.log(point.seconds / groups[-1][0].seconds) < distance:
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def add_keys(axes: Axes, looks: Iterable[Look], markers: Mapping[str, str]) -> None:
    """Add a legend entry for each look's colour and for each kind of mark; the axis says that the verifier counts."""
    for look in looks:
        axes.plot([], [], "h", color=look.colour, fillstyle=look.fill, markersize=8, label=look.label)
    for label, marker in markers.items():
        axes.plot([], [], color=canvas.MUTED, marker=marker, linestyle="none", label=_mark_label(label))


def _mark_label(rule: str) -> str:
    return canvas.legend_label(rule.removesuffix(VERIFIER[True]))


def _draw(axes: Axes, curve: Curve, look: Look, positions: Sequence[int], xs: Sequence[float]) -> None:
    """Draw a band and a line; where k > N/2 the line is pale and its markers hollow."""
    values, low, high = (
        [100 * shares[position] for position in positions] for shares in (curve.values, curve.low, curve.high)
    )
    axes.fill_between(xs, low, high, color=look.colour, alpha=BAND_OPACITY, linewidth=0)
    settled = sum(curve.ks[position] == 1 or 2 * curve.ks[position] <= curve.num_samples for position in positions)
    joint = max(settled - 1, 0)
    kind: dict[str, Any] = {"color": look.colour, "linewidth": 1.8, "linestyle": look.dash}  # Any: line properties
    if settled < len(values):
        axes.plot(xs[joint:], values[joint:], alpha=PALE, **kind)
    axes.plot(xs[:settled], values[:settled], **kind)
    mark: dict[str, Any] = {
        "color": look.colour,
        "marker": look.marker,
        "markersize": 5,
        "linestyle": "none",
    }  # Any: ditto
    axes.plot(xs[settled:], values[settled:], markerfacecolor=canvas.PAPER, **mark)
    axes.plot(xs[:settled], values[:settled], **mark)
    axes.plot([], [], marker=look.marker, markersize=5, label=look.label, **kind)
