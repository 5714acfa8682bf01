"""The timing figures: decode seconds against batch size (paper, figure 2), and against the prompt, a line a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from timetrial.report import canvas
from timetrial.report.canvas import Picture
from timetrial.report.data import ReportData
from timetrial.report.grid import Cell, by_sweep, by_workload, random_label, timing_cells
from timetrial.report.labels import slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_timing(report: ReportData) -> Iterator[Picture]:
    """Draw a figure per machine and shape (prompt tokens, new tokens), and one per machine with several prompts.

    Call within `canvas.style()`.
    """
    everything = timing_cells(report.timings)
    for workload, cells in by_workload(everything).items():
        if any(cell.decode_s for cell in cells):
            yield _picture(cells, report.models, report.machines[workload.environment])
    for (environment, _), cells in by_sweep(everything).items():
        shown = _largest_in_common([cell for cell in cells if cell.decode_s])
        if shown:
            yield _prompt_picture(shown, report.models, report.machines[environment])


def _largest_in_common(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells of the largest batch that was completed wherever any was; none if there is no such batch."""
    wanted = {(cell.model, cell.workload) for cell in cells}
    for batch in sorted({cell.batch for cell in cells}, reverse=True):
        shown = [cell for cell in cells if cell.batch == batch]
        if {(cell.model, cell.workload) for cell in shown} == wanted:
            return sorted(shown, key=lambda cell: cell.workload.prompt_tokens)
    return []


def _prompt_picture(cells: Sequence[Cell], models: Sequence[str], machine: str) -> Picture:
    """Draw seconds of a step against prompt tokens at one batch size."""
    batch, (environment, _, new_tokens) = cells[0].batch, cells[0].workload
    title = f"Seconds of a step of {batch} sequences"
    figure, axes = canvas.new_axes(title, f"mean of the {new_tokens} steps after the prompt")
    for model in dict.fromkeys(cell.model for cell in cells):
        mine, number = [cell for cell in cells if cell.model == model], models.index(model)
        axes.plot(
            [cell.workload.prompt_tokens for cell in mine],
            [cell.step_s for cell in mine],
            color=canvas.series_colour(number),
            marker=canvas.marker(number),
            markersize=5,
            linewidth=1.8,
            label=canvas.legend_label(model),
        )
    canvas.scale_seconds(axes, [cell.step_s for cell in cells], "seconds of a step", vertical=True)
    canvas.scale_samples(axes, [cell.workload.prompt_tokens for cell in cells], "prompt tokens")
    canvas.legend_below(figure, axes)
    svg, png = canvas.render(figure)
    where = "at the largest batch that all models completed"
    caption = f"On {machine}{random_label(cells)}. Median of the timed repeats, {where}."
    name = slug("timing", environment, "by-prompt", f"n{new_tokens}")
    return Picture(name=name, section="timing", kind="timing", title=title, caption=caption, svg=svg, png=png)


def _picture(cells: Sequence[Cell], models: Sequence[str], machine: str) -> Picture:
    environment, prompt_tokens, new_tokens = cells[0].workload
    title = f"Seconds to decode {new_tokens} tokens"
    figure, axes = canvas.new_axes(title, f"prompt of {prompt_tokens} tokens, prefill excluded")
    for model in dict.fromkeys(cell.model for cell in cells):
        _draw_model(axes, [cell for cell in cells if cell.model == model], models.index(model))
    seconds = [second for cell in cells for second in cell.decode_s]
    canvas.scale_seconds(axes, seconds, "decode seconds of the batch", vertical=True)
    canvas.scale_samples(axes, [cell.batch for cell in cells], "batch size")
    note = _draw_speed_ups(axes, cells)
    _draw_out_of_memory(axes, cells, models)
    canvas.legend_below(figure, axes)
    svg, png = canvas.render(figure)
    spread = "vertical bars reach from the fastest to the slowest"
    caption = f"On {machine}{random_label(cells)}. Median of the timed repeats; {spread}. {note}".strip()
    name = slug("timing", environment, f"p{prompt_tokens}", f"n{new_tokens}")
    return Picture(name=name, section="timing", kind="timing", title=title, caption=caption, svg=svg, png=png)


def _draw_model(axes: Axes, cells: Sequence[Cell], number: int) -> None:
    timed = [cell for cell in cells if cell.decode_s]
    batches, colour = [cell.batch for cell in timed], canvas.series_colour(number)
    axes.vlines(batches, [min(cell.decode_s) for cell in timed], [max(cell.decode_s) for cell in timed], color=colour)
    axes.plot(
        batches,
        [cell.median_s for cell in timed],
        color=colour,
        marker=canvas.marker(number),
        markersize=5,
        linewidth=1.8,
        label=canvas.legend_label(cells[0].model),
    )


def _draw_out_of_memory(axes: Axes, cells: Sequence[Cell], models: Sequence[str]) -> None:
    """Mark batches that did not fit with a cross at the upper edge, and say what the cross means."""
    failed = [cell for cell in cells if not cell.decode_s and cell.num_out_of_memory]
    for cell in failed:
        colour = canvas.series_colour(models.index(cell.model))
        axes.plot(
            cell.batch, 0.97, "x", color=colour, markersize=9, markeredgewidth=2.5, transform=axes.get_xaxis_transform()
        )
    if failed:
        axes.plot([], [], "x", color=canvas.MUTED, markersize=8, markeredgewidth=2.5, label="out of memory")


def _draw_speed_ups(axes: Axes, cells: Sequence[Cell]) -> str:
    """Write at each common batch how much faster the fastest model is than the slowest; return what it means.

    Both are chosen at the largest batch that all models completed, and kept for the other batches.
    """
    medians = {(cell.model, cell.batch): cell.median_s for cell in cells if cell.decode_s}
    models = {model: None for model, _ in medians}
    common = [batch for batch in sorted({batch for _, batch in medians}) if all((m, batch) in medians for m in models)]
    if len(models) < 2 or not common:
        return ""
    slow, fast = (pick(models, key=lambda model: medians[model, common[-1]]) for pick in (max, min))
    for batch in common:
        ratio = medians[slow, batch] / medians[fast, batch]
        axes.annotate(
            f"x{ratio:.1f}",
            (batch, medians[fast, batch]),
            (0, -13),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
    return f"Written below the lower line: {slow} takes that many times as long as {fast}."
