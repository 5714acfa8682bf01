"""The figures: the paper's plots of quality for whatever models, temperatures and rules a run has.

Every task gets, for each rule, quality against samples and against seconds; for each series, all rules in one plot;
and, when timed, all configurations with their Pareto front. The timing figures are `timing_figure.py`'s.
Temperatures are curves of their own, never merged into the best of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from timetrial.accounting import charged, counts_verifier, generated
from timetrial.record import Curve
from timetrial.report import canvas, strokes
from timetrial.report.canvas import Picture
from timetrial.report.data import ReportData
from timetrial.report.deadline_figure import draw_deadlines
from timetrial.report.labels import COVERAGE, is_choosing, rule_label, series_label, slug, timed_rule_label
from timetrial.report.points import timed_points
from timetrial.report.timing_figure import draw_timing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLES_AXIS = "samples per problem, k"
SECONDS_AXIS = "decode seconds per problem"
WHOLE_SECONDS_AXIS = "seconds per problem, scoring included"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """What one figure shows, before it is drawn."""

    name: str
    kind: str
    title: str
    caption: str
    curves: Sequence[Curve]
    draw: Callable[[Axes, Sequence[Curve]], None]


def draw_figures(report: ReportData) -> tuple[Picture, ...]:
    """Draw every figure the report's curves and timings allow, in reading order."""
    with canvas.style():
        pictures = [_picture(plot) for task in report.tasks for plot in _task_plots(report, task)]
        pictures += draw_deadlines(report)
        pictures += draw_timing(report)
    return tuple(_uniquely_named(pictures))


def _picture(plot: Plot) -> Picture:
    first = plot.curves[0]
    samples = max(curve.num_samples for curve in plot.curves)
    subtitle = f"{first.task}: {first.num_problems} problems, up to {samples} samples each"
    figure, axes = canvas.new_axes(plot.title, subtitle)
    plot.draw(axes, plot.curves)
    canvas.legend_below(figure, axes)
    svg, png = canvas.render(figure)
    return Picture(
        name=plot.name,
        section=first.task,
        kind=plot.kind,
        title=plot.title,
        caption=plot.caption,
        svg=svg,
        png=png,
    )


def _task_plots(report: ReportData, task: str) -> Iterator[Plot]:
    looks = strokes.series_looks(report.curves, report.models)
    curves = [curve for curve in report.curves if curve.task == task]
    candidates = charged(curve for curve in curves if is_choosing(curve)) or curves
    if timed_points(candidates):
        yield _front_plot(task, candidates, looks)
    for rule in dict.fromkeys(rule_label(curve) for curve in curves):
        of_rule = [curve for curve in curves if rule_label(curve) == rule]
        yield _samples_plot(task, rule, generated(of_rule), looks)
        if timed_points(of_rule):
            yield _seconds_plot(task, rule, of_rule, looks)
    for series in dict.fromkeys(curve.series for curve in curves):
        of_series = [curve for curve in generated(curves) if curve.series == series]
        if len(of_series) > 1:
            yield _rules_plot(of_series)


def _samples_plot(task: str, rule: str, curves: Sequence[Curve], looks: strokes.Looks) -> Plot:
    def draw(axes: Axes, curves: Sequence[Curve]) -> None:
        for curve in curves:
            strokes.draw_by_samples(axes, curve, looks[curve.series])
        _scale_by_samples(axes, curves)

    meaning = (
        "Share of problems that at least one of k samples solves: what a perfect verifier would reach."
        if curves[0].rule == COVERAGE
        else "Share of problems for which the rule, given k samples, chooses a right answer."
    )
    return Plot(
        name=slug(task, rule, "by samples"),
        kind="samples",
        title=f"{_sentence(rule)} by samples",
        caption=meaning,
        curves=curves,
        draw=draw,
    )


def _seconds_plot(task: str, rule: str, curves: Sequence[Curve], looks: strokes.Looks) -> Plot:
    def draw(axes: Axes, curves: Sequence[Curve]) -> None:
        points, whole = timed_points(curves), charged(curves)
        strokes.draw_front(axes, timed_points(whole))
        for curve in curves:
            if curve not in whole:
                strokes.draw_uncharged(axes, curve, looks[curve.series])
        for curve in whole:
            strokes.draw_by_seconds(axes, curve, looks[curve.series])
        if len(whole) < len(curves):
            strokes.add_uncharged_key(axes)
        canvas.scale_seconds(axes, [point.seconds for point in points], _seconds_axis(whole))
        canvas.scale_percent(axes, [value for point in points for value in (point.low, point.high)])

    return Plot(
        name=slug(task, rule, "by seconds"),
        kind="seconds",
        title=f"{_sentence(rule)} by seconds",
        caption=(
            f"The same points, each k placed at the measured seconds of k samples{_counting(curves)}. "
            "Thin horizontal bars: 95 % interval of the time. Broad grey steps: the Pareto front of this plot."
        ),
        curves=curves,
        draw=draw,
    )


def _rules_plot(curves: Sequence[Curve]) -> Plot:
    series = curves[0].series

    def draw(axes: Axes, curves: Sequence[Curve]) -> None:
        for number, curve in enumerate(curves):
            dash = 0 if is_choosing(curve) else 1
            look = strokes.numbered_look(number, dash, rule_label(curve))
            strokes.draw_by_samples(axes, curve, look)
        _scale_by_samples(axes, curves)

    return Plot(
        name=slug(series.task, series.model, f"T {series.temperature:g}", "rules"),
        kind="rules",
        title=f"All rules, {series_label(series)}",
        caption=(
            "What each way of choosing an answer makes of the same samples. Coverage (dashed) is the ceiling: "
            "a problem counts as soon as one sample is right."
        ),
        curves=curves,
        draw=draw,
    )


def _front_plot(task: str, curves: Sequence[Curve], looks: strokes.Looks) -> Plot:
    def draw(axes: Axes, curves: Sequence[Curve]) -> None:
        points = timed_points(curves)
        rules = dict.fromkeys(timed_rule_label(curve) for curve in curves)
        markers = {rule: canvas.marker(number) for number, rule in enumerate(rules)}
        strokes.draw_front(axes, points)
        strokes.draw_marks(axes, points, looks, markers)
        shown = dict.fromkeys(point.curve.series for point in points)
        strokes.add_keys(axes, [looks[series] for series in shown], markers)
        canvas.scale_seconds(axes, [point.seconds for point in points], _seconds_axis(curves))
        canvas.scale_percent(axes, [point.value for point in points])

    return Plot(
        name=slug(task, "pareto front"),
        kind="seconds",
        title="Every configuration and the Pareto front",
        caption=(
            "One mark is one model, temperature (filled or hollow), number of samples and rule. The strong marks on "
            "the grey steps are the front: nothing measured solves as much in less time. Choosing from it on the same "
            "problems is optimistic."
        ),
        curves=curves,
        draw=draw,
    )


def _seconds_axis(curves: Sequence[Curve]) -> str:
    return WHOLE_SECONDS_AXIS if any(map(counts_verifier, curves)) else SECONDS_AXIS


def _counting(curves: Sequence[Curve]) -> str:
    """Say which seconds a figure shows."""
    if any(map(counts_verifier, curves)):
        return ": decoding and scoring them (strong), and decoding alone, as in the paper (thin)"
    if any(counts_verifier(curve) is False for curve in curves):
        return ": decoding alone, since the reward model was not timed"
    return ": decoding, which is all this rule takes"


def _scale_by_samples(axes: Axes, curves: Sequence[Curve]) -> None:
    canvas.scale_samples(axes, [k for curve in curves for k in curve.ks], SAMPLES_AXIS)
    canvas.scale_percent(axes, [value for curve in curves for value in curve.low + curve.high])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _uniquely_named(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Number the pictures whose names, reduced to letters and digits, would overwrite one another."""
    taken: set[str] = set()
    for picture in pictures:
        name, number = picture.name, 1
        while name in taken:
            number += 1
            name = f"{picture.name}-{number}"
        taken.add(name)
        yield replace(picture, name=name)
