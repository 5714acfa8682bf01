"""The figures of an ablation: accuracy against the power of the scores, a line per reduction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from timetrial.ablation import Ablation, AblationPoint
from timetrial.error import RunError
from timetrial.report import canvas, strokes
from timetrial.report.ablation_tables import Group, group_of, power_label
from timetrial.report.canvas import Picture
from timetrial.report.labels import samples_label, series_label, slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_ablation(ablation: Ablation) -> Iterator[Picture]:
    """Draw one figure per series, reward model and k."""
    with canvas.style():
        for group in dict.fromkeys(map(group_of, ablation.points)):
            yield _picture(group, [point for point in ablation.points if group_of(point) == group])


def write_pictures(pictures: Iterator[Picture], folder: Path) -> tuple[Path, ...]:
    """Write figures as PNG and SVG; return the PNG files.

    Raises:
        RunError: the folder cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            (folder / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")
            written.append(folder / f"{picture.name}.png")
            written[-1].write_bytes(picture.png)
    except OSError as error:
        raise RunError(f"cannot write figures into {folder}: {error.strerror or error}.") from error
    return tuple(written)


def _picture(group: Group, points: Sequence[AblationPoint]) -> Picture:
    series, reward_model, k = group
    title = f"Reductions and powers of the scores, {samples_label(k)}"
    figure, axes = canvas.new_axes(title, f"{series.task}: {series_label(series)}, {reward_model}")
    scored = [point for point in points if point.reduction is not None]
    labels = list(dict.fromkeys(map(power_label, scored)))
    for number, reduction in enumerate(dict.fromkeys(point.reduction for point in scored)):
        _draw_line(axes, [point for point in scored if point.reduction == reduction], labels, number)
    for point in points:
        if point.reduction is None:
            axes.axhline(
                100 * point.value,
                color=canvas.MUTED,
                linewidth=1.2,
                linestyle=canvas.DASHES[1 if point.rule == "coverage" else 2],
                label=point.rule,
            )
    axes.set_xticks(range(len(labels)), labels=[label.replace(" ", "\n") for label in labels])
    axes.set_xlabel("power of the scores, gamma")
    canvas.scale_percent(axes, [value for point in points for value in (point.low, point.high)])
    canvas.legend_below(figure, axes)
    svg, png = canvas.render(figure)
    return Picture(
        name=slug(series.task, series.model, f"T {series.temperature:g}", reward_model, f"k {k}", "ablation"),
        section=series.task,
        kind="ablation",
        title=title,
        caption="What a vote is worth whose samples weigh their reduced score to the power gamma.",
        svg=svg,
        png=png,
    )


def _draw_line(axes: Axes, points: Sequence[AblationPoint], labels: Sequence[str], number: int) -> None:
    """Draw the powers as a line, and Best-of-N, which is none, as a mark of its own."""
    look = strokes.numbered_look(number, 0, str(points[0].reduction))
    powers = [point for point in points if point.rule == "weighted"]
    places = [labels.index(power_label(point)) for point in powers]
    low, value, high = ([100 * getattr(point, name) for point in powers] for name in ("low", "value", "high"))
    axes.fill_between(places, low, high, color=look.colour, alpha=strokes.BAND_OPACITY, linewidth=0)
    axes.plot(places, value, color=look.colour, marker=look.marker, markersize=5, linewidth=1.8, label=look.label)
    for point in points:
        if point.rule != "weighted":
            place = labels.index(power_label(point)) + 0.08 * (number - 1.5)
            axes.errorbar(
                place,
                100 * point.value,
                [[100 * (point.value - point.low)], [100 * (point.high - point.value)]],
                color=look.colour,
                marker=look.marker,
                markersize=5,
                elinewidth=0.8,
            )
