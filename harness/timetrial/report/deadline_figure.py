"""The deadline figures: the best of all k at each deadline, a line per series; a figure per task, rule and mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from timetrial.accounting import GENERATION, WITH_VERIFIER
from timetrial.record import Series
from timetrial.replay_record import DeadlineCurve
from timetrial.report import canvas, strokes
from timetrial.report.canvas import Picture
from timetrial.report.data import ReportData
from timetrial.report.deadline_tables import deadline_rule, plain_rule
from timetrial.report.labels import slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COUNTED = {
    GENERATION: "Decode seconds alone are counted.",
    WITH_VERIFIER: "All are scored after the last of them ends, by the deadline too. Prefill is left out.",
}
_AXIS = {
    GENERATION: "deadline, decode seconds per problem",
    WITH_VERIFIER: "deadline, seconds per problem, scoring included",
}
_MEANING = {
    "static": "The batch stays at its size until its longest sample ends.",
    "compact": "Finished samples leave the batch, which speeds up the others.",
}


def draw_deadlines(report: ReportData) -> Iterator[Picture]:
    """Draw a figure per task, rule and mode. Call within `canvas.style()`."""
    curves = report.replay.deadlines if report.replay else ()
    looks = strokes.series_looks(report.curves, report.models)
    for task, rule, mode in dict.fromkeys((curve.task, deadline_rule(curve), curve.mode) for curve in curves):
        shown = [c for c in curves if (c.task, deadline_rule(c), c.mode) == (task, rule, mode)]
        yield _picture(shown, looks)


def _picture(curves: Sequence[DeadlineCurve], looks: strokes.Looks) -> Picture:
    first = curves[0]
    rule = plain_rule(first)
    title = f"{rule[:1].upper()}{rule[1:]} at a deadline"
    subtitle = f"{first.task}: {first.num_problems} problems, {first.mode} batch"
    figure, axes = canvas.new_axes(title, subtitle)
    if len(curves) == 1:
        _draw_each_k(axes, first)
    for curve in curves:
        _draw_envelope(axes, curve, looks[Series(curve.model, curve.task, curve.temperature)])
    canvas.scale_seconds(axes, first.deadlines_s, _AXIS[first.accounting])
    canvas.scale_percent(axes, [value for curve in curves for value in curve.low + curve.high])
    canvas.legend_below(figure, axes)
    svg, png = canvas.render(figure)
    thin = " Thin lines: each k on its own." if len(curves) == 1 else ""
    return Picture(
        name=slug(first.task, plain_rule(first), "at a deadline", first.mode),
        section=first.task,
        kind="deadline",
        title=title,
        caption=f"The clock stops, and unfinished samples abstain: the best k at each deadline.{thin} "
        f"{_MEANING[first.mode]} {_COUNTED[first.accounting]}",
        svg=svg,
        png=png,
    )


def _draw_each_k(axes: Axes, curve: DeadlineCurve) -> None:
    """Draw every k as a thin line."""
    for values in curve.values:
        shares = [100 * value for value in values]
        axes.plot(curve.deadlines_s, shares, color=canvas.MUTED, linewidth=0.8, alpha=strokes.PALE, zorder=1.5)


def _draw_envelope(axes: Axes, curve: DeadlineCurve, look: strokes.Look) -> None:
    best, low, high = ([100 * share for share in shares] for shares in (curve.best, curve.low, curve.high))
    axes.fill_between(curve.deadlines_s, low, high, color=look.colour, alpha=strokes.BAND_OPACITY, linewidth=0)
    axes.plot(
        curve.deadlines_s,
        best,
        color=look.colour,
        linestyle=look.dash,
        linewidth=1.8,
        marker=look.marker,
        markersize=4,
        label=look.label,
    )
