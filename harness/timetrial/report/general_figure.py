"""The paper's Figure 11 for any checkpoints: both kinds of benchmark by stage, and one against the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from timetrial.general_figures import Score
from timetrial.general_stages import Checkpoint, GeneralReport, Pair
from timetrial.report import canvas
from timetrial.report.canvas import Picture
from timetrial.report.general_labels import interval_label, model_name, stage_label
from timetrial.report.labels import shortened

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECTION = "general"
PANEL_INCHES = (3.6, 3.4)
MAX_PANELS = 6
"""Of one figure: more pairs than that cannot be read."""
COLUMNS = 3
CHARACTERS_PER_INCH = 13
KEY_CHARACTERS = 10
"""Of a legend: how wide letters are, and how many a key and the gap beside it take."""
DASHED = (0, (5, 2))
NAME_PLACES = (("left", (5, 4)), ("left", (5, -10)), ("right", (-5, 4)), ("right", (-5, -10)))
"""Where the names of a model's marks stand: four models in one corner can still be read."""


def draw_general(report: GeneralReport) -> tuple[Picture, ...]:
    """Draw the benchmarks by stage, if there are stages, and each general benchmark against each reasoning task."""
    pairs = [pair for pair in report.pairs if len(pair.refs) > 1][:MAX_PANELS]
    with canvas.style():
        pictures = [_by_stage(report)] if report.chains else []
        pictures += [_against(report, pairs)] if pairs else []
    return tuple(pictures)


def _by_stage(report: GeneralReport) -> Picture:
    figure, panels = _panels(report.chains, "Reasoning and general benchmarks by stage")
    for chain, axes in zip(report.chains, panels, strict=True):
        stages = [report.checkpoints[ref] for ref in chain]
        for number, task in enumerate(report.reasoning):
            _line(
                axes, stages, [item.reasoning.get(task) for item in stages], number, f"{task} acc@1", is_general=False
            )
        for number, label in enumerate(report.general, start=len(report.reasoning)):
            _line(axes, stages, [item.general.get(label) for item in stages], number, label, is_general=True)
        axes.set_title(shortened(model_name(chain[-1]), 36), loc="left", fontsize=10)
        axes.set_xticks(range(len(stages)), labels=[stage_label(item) for item in stages])
        axes.set_xlim(-0.3, len(stages) - 0.7)
        axes.set_ylim(-2, 102)  # room for marks at both ends
    panels[0].set_ylabel("right, %")
    canvas.legend_below(figure, panels[0])
    return _picture(
        figure,
        "general-by-stage",
        "Reasoning and general benchmarks by stage",
        "Each line is one benchmark over the stages of a distillation, from the model it began with. Solid: reasoning, "
        "acc@1 with greedy answers. Dashed: general benchmarks. Bars: one standard error over problems.",
    )


def _line(
    axes: Axes,
    stages: Sequence[Checkpoint],
    scores: Sequence[Score | None],
    number: int,
    label: str,
    *,
    is_general: bool,
) -> None:
    known = [(place, score) for place, score in enumerate(scores) if score is not None]
    if not known:
        return
    colour = canvas.series_colour(number)
    axes.errorbar(
        [place for place, _ in known],
        [100 * score.value for _, score in known],
        yerr=[100 * (score.standard_error or 0.0) for _, score in known],
        color=colour,
        linestyle=DASHED if is_general else "-",
        linewidth=1.6 if is_general else 2.2,
        marker=canvas.marker(number),
        markersize=6,
        markerfacecolor=canvas.PAPER if is_general else colour,
        elinewidth=1,
        label=canvas.legend_label(label),
    )


def _against(report: GeneralReport, pairs: Sequence[Pair]) -> Picture:
    figure, panels = _panels(pairs, "Do they move together?")
    for pair, axes in zip(pairs, panels, strict=True):
        for number, name in enumerate(dict.fromkeys(map(model_name, report.checkpoints))):
            items = [report.checkpoints[ref] for ref in pair.refs if model_name(ref) == name]
            _marks(axes, pair, items, number)
        coefficients = pair.correlation
        axes.set_title(
            f"{len(pair.refs)} checkpoints: Pearson {interval_label(coefficients.pearson)},\n"
            f"Spearman {interval_label(coefficients.spearman)}",
            loc="left",
            fontsize=8.5,
            fontweight="normal",
        )
        axes.set_xlabel(f"{shortened(pair.general, 40)}, %")
        axes.set_ylabel(f"{shortened(pair.reasoning, 24)} acc@1, %")
        axes.margins(0.18)
    _legend_of_names(figure, panels)
    return _picture(
        figure,
        "general-correlation",
        "Reasoning against general benchmarks",
        "Each mark is one registered checkpoint. Intervals: 95 %, bootstrap over checkpoints, which takes stages of "
        "one model for independent; they are left out below five checkpoints.",
    )


def _marks(axes: Axes, pair: Pair, items: Sequence[Checkpoint], number: int) -> None:
    """Mark the versions of one model, joined in their order; models differ in the side of their marks' names."""
    if not items:
        return
    xs = [100 * item.general[pair.general].value for item in items]
    ys = [100 * item.reasoning[pair.reasoning].value for item in items]
    name = canvas.legend_label(model_name(items[0].ref))
    axes.plot(xs, ys, marker="o", linewidth=0.8, markersize=7, color=canvas.series_colour(number), label=name)
    side, offset = NAME_PLACES[number % len(NAME_PLACES)]
    for item, x, y in zip(items, xs, ys, strict=True):
        axes.annotate(
            stage_label(item),
            (x, y),
            offset,
            textcoords="offset points",
            ha=side,
            fontsize=7.5,
            color=canvas.MUTED,
        )


def _panels(items: Sequence[object], title: str) -> tuple[Figure, list[Axes]]:
    """Make a figure with a panel for each item, under a title."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as EmptyFigure

    columns = min(COLUMNS, len(items))
    rows = -(-len(items) // columns)
    width = max(columns * PANEL_INCHES[0], canvas.SIZE_INCHES[0])
    figure = EmptyFigure(figsize=(width, rows * PANEL_INCHES[1] + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(len(items))]


def _legend_of_names(figure: Figure, panels: Sequence[Axes]) -> None:
    handles: dict[str, Artist] = {}
    for axes in panels:
        found, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    columns = max(1, int(figure.get_figwidth() * CHARACTERS_PER_INCH) // (max(map(len, handles)) + KEY_CHARACTERS))
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=columns)


def _picture(figure: Figure, name: str, title: str, caption: str) -> Picture:
    svg, png = canvas.render(figure)
    return Picture(name=name, section=SECTION, kind=SECTION, title=title, caption=caption, svg=svg, png=png)
