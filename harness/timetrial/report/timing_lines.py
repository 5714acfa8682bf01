"""Lines of seconds: what the timing figures draw, whatever stands on the x axis.

A model on its family's own engine is a solid line, on any other a dashed one of the same colour; a thin line is its
floor. A cross is a batch that did not fit, at the seconds of its cheapest split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from timetrial.engines import OWN_ENGINE
from timetrial.report import canvas
from timetrial.report.grid import timed_label
from timetrial.report.labels import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.06
"""Height of a row of numbers, as a share of the axes."""


class Point(NamedTuple):
    """A measured point of a line."""

    x: int
    seconds: float
    fastest_s: float
    slowest_s: float
    floor_s: float | None
    split: str = ""
    """The batches it was made of, if it did not fit into one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimingLine:
    """One model on one engine."""

    model: str
    engine: str
    points: tuple[Point, ...]
    """By rising x."""
    lost: tuple[int, ...] = ()
    """Where it ran out of memory, and no smaller batch fitted either."""

    @property
    def label(self) -> str:
        """What the legend calls it."""
        return timed_label(self.model, self.engine)


class SpeedUpRows(NamedTuple):
    """The numbers below the lines: how many times as long as a model the baseline takes, a row for each engine."""

    model: str
    baseline: str
    rows: tuple[tuple[str, dict[int, float]], ...]
    """(engine of the baseline, ratio by x)."""


def speed_up_rows(lines: Sequence[TimingLine], baseline: str) -> SpeedUpRows | None:
    """Compare the baseline with the model that is furthest ahead of it at the largest x they have in common.

    Other models' lines of other engines are left out. None if there is no such pair.
    """
    own = {line.model: line for line in lines if line.engine == OWN_ENGINE and line.points}
    against = [line for line in lines if line.model == baseline and line.points]
    found = {
        model: [(line.engine, ratios) for line in against if (ratios := _ratios(line, one))]
        for model, one in own.items()
        if model != baseline
    }
    found = {model: rows for model, rows in found.items() if rows}
    if not found:
        return None
    best = max(found, key=lambda model: found[model][0][1][max(found[model][0][1])])
    return SpeedUpRows(best, baseline, tuple(found[best]))


def _ratios(slow: TimingLine, fast: TimingLine) -> dict[int, float]:
    """Return by how much one line is above another, where both have a point."""
    seconds = {point.x: point.seconds for point in fast.points}
    return {point.x: point.seconds / seconds[point.x] for point in slow.points if point.x in seconds}


def draw_lines(axes: Axes, lines: Sequence[TimingLine], models: Sequence[str]) -> None:
    """Draw every line; a model's place in `models` decides its colour and its mark."""
    for line in lines:
        _draw_line(axes, line, models.index(line.model))
    if any(point.floor_s is not None for line in lines for point in line.points):
        axes.plot([], [], color=canvas.MUTED, linewidth=0.8, label="its floor")
    if any(line.lost or any(point.split for point in line.points) for line in lines):
        axes.plot([], [], "x", color=canvas.MUTED, markersize=8, markeredgewidth=2.5, label="out of memory")


def _draw_line(axes: Axes, line: TimingLine, number: int) -> None:
    colour, is_own = canvas.series_colour(number), line.engine == OWN_ENGINE
    fitting = [point for point in line.points if not point.split]
    axes.plot(
        [point.x for point in line.points],
        [point.seconds for point in line.points],
        color=colour,
        linestyle=canvas.DASHES[0] if is_own else canvas.DASHES[1],
        linewidth=1.8 if is_own else 1.4,
        marker=canvas.marker(number),
        markevery=range(len(fitting)),
        markersize=5,
        fillstyle="full" if is_own else "none",
        label=canvas.legend_label(line.label),
    )
    axes.vlines(
        [point.x for point in fitting],
        [point.fastest_s for point in fitting],
        [point.slowest_s for point in fitting],
        color=colour,
    )
    floors = [(point.x, point.floor_s) for point in line.points if point.floor_s is not None]
    if is_own and floors:
        axes.plot(*zip(*floors, strict=True), color=colour, linewidth=0.8)
    for point in line.points:
        if point.split:
            _draw_split(axes, point, colour)
    for x in line.lost:
        across = axes.get_xaxis_transform()
        axes.plot(x, 0.97, "x", color=colour, markersize=9, markeredgewidth=2.5, transform=across)


def _draw_split(axes: Axes, point: Point, colour: str) -> None:
    axes.plot(point.x, point.seconds, "x", color=colour, markersize=9, markeredgewidth=2.5)
    axes.annotate(
        point.split, (point.x, point.seconds), (-8, 4), textcoords="offset points", ha="right", fontsize=8, color=colour
    )


def write_speed_ups(axes: Axes, rows: SpeedUpRows) -> None:
    """Write the numbers in a strip below all lines, which the y axis, logarithmic and scaled by now, makes room for."""
    low, high = axes.get_ylim()
    share = (len(rows.rows) + 1.3) * _ROW
    axes.set_ylim(low * (high / low) ** (-share / (1 - share)), high)
    left, right = axes.get_xlim()
    axes.set_xlim(left / 1.2, right * 1.2)  # the outermost numbers are wider than the margin
    across, top = axes.get_xaxis_transform(), share - 0.8 * _ROW
    over = rows.baseline if len(rows.rows) > 1 else timed_label(rows.baseline, rows.rows[0][0])
    title = f"speed-up of {shortened(rows.model, 30)} over {shortened(over, 30)}"
    axes.text(0.012, top, title, transform=axes.transAxes, fontsize=8, color=canvas.MUTED, va="center")
    for number, (engine, ratios) in enumerate(rows.rows, start=1):
        height = top - number * _ROW
        colour = canvas.INK if engine == OWN_ENGINE else canvas.MUTED
        for x, ratio in ratios.items():
            text = axes.text(x, height, f"x{ratio:.1f}", transform=across, fontsize=8.5, ha="center", va="center")
            text.set(color=colour, bbox={"facecolor": canvas.PAPER, "edgecolor": "none", "pad": 0.5})
        if len(rows.rows) > 1:
            name = "own engine" if engine == OWN_ENGINE else engine
            axes.text(1.012, height, name, transform=axes.transAxes, fontsize=8, color=colour, va="center")
