"""An empty, styled figure, and how it becomes PNG and SVG. It does not know what is drawn on it.

matplotlib is imported inside the functions, so that commands without figures start quickly. Figures are made without
pyplot: no backend is chosen for the process, no global setting changes, and nothing stays in memory.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from timetrial.report.labels import round_seconds, seconds_label, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Dash: TypeAlias = "str | tuple[int, tuple[float, ...]]"

INK = "#1b1f27"
MUTED = "#667085"
GRID = "#e4e7ec"
FRONT = "#d0d5dd"
PAPER = "#ffffff"
SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6fd0")
"""Okabe and Ito's palette, readable with any colour vision, without its yellow and black; one violet added."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Dash, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
FILLS = ("full", "none", "left", "top")
"""How the marks of a model's first, second, ... temperature are filled."""

SIZE_INCHES = (6.0, 4.5)
DOTS_PER_INCH = 160


def series_colour(number: int) -> str:
    """Return the colour of the series with that number; after the last, the first comes again."""
    return SERIES_COLOURS[number % len(SERIES_COLOURS)]


def marker(number: int) -> str:
    """Return the marker of the series with that number; after the last, the first comes again."""
    return MARKERS[number % len(MARKERS)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A finished figure in both formats."""

    name: str
    """File name without suffix, unique in the report."""
    section: str
    """The task it belongs to, or "timing"."""
    kind: str
    """seconds, samples, rules, deadline or timing: what it plots."""
    title: str
    caption: str
    """What to see in it, and how it was made, in plain words."""
    svg: str
    png: bytes


@contextmanager
def style() -> Iterator[None]:
    """Apply the report's look, and whatever makes output the same bytes on every run, within the block only."""
    import matplotlib

    settings = {
        "font.size": 10,
        "font.sans-serif": ["DejaVu Sans", "Verdana"],
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "text.parse_math": False,  # a model's name may hold dollar signs
        "svg.fonttype": "none",  # text stays text: small files that can be searched and read aloud
        "svg.hashsalt": "timetrial",
    }
    with matplotlib.rc_context(settings):
        yield


def new_axes(title: str, subtitle: str, *, height_inches: float = SIZE_INCHES[1]) -> tuple[Figure, Axes]:
    """Make a figure with one set of axes, headed by a title and a quieter line below it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE_INCHES[0], height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(shortened(title, 52), loc="left", pad=22)
    below = axes.annotate(
        subtitle, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", fontsize=8.5, color=MUTED
    )
    below.set_in_layout(False)  # a long line must not squeeze the axes
    return figure, axes


def render(figure: Figure) -> tuple[str, bytes]:
    """Return the figure as SVG text and PNG bytes; the same figure gives the same bytes, so neither holds a date."""
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")  # laid out by now; once is enough
    figure.savefig(png, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def legend_label(text: str) -> str:
    """Return what the legend calls an artist: not too long, and not starting with the underscore that hides it."""
    return shortened(f" {text}" if text.startswith("_") else text, 72)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put the legend under the axes, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        longest = max(map(len, labels))
        columns = 1 if longest > 52 else 2 if longest > 24 else 3
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=2.6, columnspacing=1.4)


def scale_samples(axes: Axes, ks: Sequence[int], label: str) -> None:
    """Give the x axis a log2 scale with ticks at the numbers in `ks`, those left out whose labels would collide."""
    low, high = min(ks), max(ks)
    gap = math.log2(high / low) / 14
    ticks: list[int] = []
    for k in sorted(set(ks)):
        if not ticks or math.log2(k / ticks[-1]) >= gap:
            ticks.append(k)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, labels=[str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(low / 1.15, high * 1.15)
    axes.set_xlabel(label)


def scale_seconds(axes: Axes, seconds: Sequence[float], label: str, *, vertical: bool = False) -> None:
    """Give an axis a logarithmic scale in seconds with ticks at round numbers."""
    low, high = min(seconds) / 1.2, max(seconds) * 1.2
    axis = axes.yaxis if vertical else axes.xaxis
    (axes.set_yscale if vertical else axes.set_xscale)("log")
    ticks = round_seconds(low, high)
    axis.set_ticks(ticks, labels=[seconds_label(tick) for tick in ticks])
    axes.minorticks_off()
    (axes.set_ylim if vertical else axes.set_xlim)(low, high)
    (axes.set_ylabel if vertical else axes.set_xlabel)(label)


def scale_percent(axes: Axes, values: Sequence[float]) -> None:
    """Give the y axis percent of problems, around `values` (shares), never less than four points tall."""
    low, high = 100 * min(values), 100 * max(values)
    margin = max(0.06 * (high - low), (4 - (high - low)) / 2)
    axes.set_ylim(max(0.0, low - margin) - 0.4, min(100.0, high + margin) + 0.4)
    axes.set_ylabel("problems solved, %")
