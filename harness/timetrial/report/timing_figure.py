"""The timing figures: decode seconds against batch size (paper, figures 2a and 2b), and against the prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from timetrial.report import canvas
from timetrial.report.canvas import Picture
from timetrial.report.data import ReportData
from timetrial.report.grid import Cell, by_sweep, by_workload, random_label, timed_label, timing_cells
from timetrial.report.labels import slug, split_label
from timetrial.report.scales import Scale, cells_of, model_scales
from timetrial.report.speed_ups import split_time
from timetrial.report.timing_lines import Point, SpeedUpRows, TimingLine, draw_lines, speed_up_rows, write_speed_ups


class _Plot(NamedTuple):
    """What one figure shows, before it is drawn."""

    name: tuple[str, ...]
    title: str
    subtitle: str
    caption: str
    lines: Sequence[TimingLine]
    seconds_axis: str
    axis: str


def draw_timing(report: ReportData) -> Iterator[Picture]:
    """Draw, for each size of models, a figure per machine and shape, and one per machine with several prompts.

    Call within `canvas.style()`.
    """
    everything = timing_cells(report.timings)
    for scale in model_scales(report):
        cells = cells_of(scale, everything)
        for workload, shown in by_workload(cells).items():
            if any(cell.decode_s for cell in shown):
                yield _draw(_by_batch(shown, scale, report.machines[workload.environment]), report.models, scale)
        for (environment, _), swept in by_sweep(cells).items():
            largest = _largest_in_common([cell for cell in swept if cell.decode_s])
            if largest:
                yield _draw(_by_prompt(largest, scale, report.machines[environment]), report.models, scale)


def _by_batch(cells: Sequence[Cell], scale: Scale, machine: str) -> _Plot:
    environment, prompt_tokens, new_tokens = cells[0].workload
    return _Plot(
        name=("timing", environment, *_words(scale), f"p{prompt_tokens}", f"n{new_tokens}"),
        title=f"Seconds to decode {new_tokens} tokens{_of(scale)}",
        subtitle=f"prompt of {prompt_tokens} tokens, prefill excluded",
        caption=f"On {machine}{random_label(cells)}. Median of the timed repeats; vertical bars reach from the fastest "
        "to the slowest.",
        lines=[_batch_line(group) for group in _by_label(cells)],
        seconds_axis="decode seconds of the batch",
        axis="batch size",
    )


def _by_prompt(cells: Sequence[Cell], scale: Scale, machine: str) -> _Plot:
    """Plot seconds of a step against prompt tokens, at one batch size."""
    batch, (environment, _, new_tokens) = cells[0].batch, cells[0].workload
    return _Plot(
        name=("timing", environment, *_words(scale), "by-prompt", f"n{new_tokens}"),
        title=f"Seconds of a step of {batch} sequences{_of(scale)}",
        subtitle=f"mean of the {new_tokens} steps after the prompt",
        caption=f"On {machine}{random_label(cells)}. Median of the timed repeats, at the largest batch that all models "
        "completed.",
        lines=[_prompt_line(group) for group in _by_label(cells)],
        seconds_axis="seconds of a step",
        axis="prompt tokens",
    )


def _draw(plot: _Plot, models: Sequence[str], scale: Scale) -> Picture:
    figure, axes = canvas.new_axes(plot.title, plot.subtitle)
    draw_lines(axes, plot.lines, models)
    points = [point for line in plot.lines for point in line.points]
    seconds = [each for point in points for each in (point.floor_s, point.fastest_s, point.slowest_s) if each]
    canvas.scale_seconds(axes, seconds, plot.seconds_axis, vertical=True)
    canvas.scale_samples(axes, [x for line in plot.lines for x in (*(point.x for point in line.points), *line.lost)],
                         plot.axis)  # fmt: skip
    rows = speed_up_rows(plot.lines, scale.baseline)
    if rows is not None:
        write_speed_ups(axes, rows)
    canvas.legend_below(figure, axes)
    svg, png = canvas.render(figure)
    caption = " ".join(part for part in (plot.caption, _floors_note(points), _rows_note(rows)) if part)
    return Picture(
        name=slug(*plot.name), section="timing", kind="timing", title=plot.title, caption=caption, svg=svg, png=png
    )


def _floors_note(points: Sequence[Point]) -> str:
    known = any(point.floor_s is not None for point in points)
    return "Thin lines: the least time that the machine's measured rates allow." if known else ""


def _rows_note(rows: SpeedUpRows | None) -> str:
    if rows is None:
        return ""
    (first, _), *others = rows.rows
    slow = timed_label(rows.baseline, first)
    again = f"; in the next row, {timed_label(rows.baseline, others[0][0])} does" if others else ""
    return f"Numbers below: {slow} takes that many times as long as {rows.model}{again}."


def _batch_line(cells: Sequence[Cell]) -> TimingLine:
    by_batch = {cell.batch: cell for cell in cells}
    points, lost = [], []
    for batch, cell in sorted(by_batch.items()):
        time = split_time(by_batch, batch)
        if time is None:
            lost.append(batch)
        elif cell.decode_s:
            points.append(Point(batch, time.seconds, min(cell.decode_s), max(cell.decode_s), cell.last.floor_s))
        else:
            points.append(Point(batch, time.seconds, time.seconds, time.seconds, None, split_label(*time)))
    return TimingLine(model=cells[0].model, engine=cells[0].engine, points=tuple(points), lost=tuple(lost))


def _prompt_line(cells: Sequence[Cell]) -> TimingLine:
    steps = cells[0].workload.new_tokens
    points = [
        Point(
            cell.workload.prompt_tokens,
            cell.step_s,
            min(cell.decode_s) / steps,
            max(cell.decode_s) / steps,
            None if cell.last.floor_s is None else cell.last.floor_s / steps,
        )
        for cell in sorted(cells, key=lambda cell: cell.workload.prompt_tokens)
    ]
    return TimingLine(model=cells[0].model, engine=cells[0].engine, points=tuple(points))


def _by_label(cells: Sequence[Cell]) -> list[list[Cell]]:
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.label, []).append(cell)
    return list(groups.values())


def _largest_in_common(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells of the largest batch that was completed wherever any was; none if there is no such batch."""
    wanted = {(cell.label, cell.workload) for cell in cells}
    for batch in sorted({cell.batch for cell in cells}, reverse=True):
        shown = [cell for cell in cells if cell.batch == batch]
        if {(cell.label, cell.workload) for cell in shown} == wanted:
            return shown
    return []


def _words(scale: Scale) -> tuple[str, ...]:
    return (scale.name,) if scale.name else ()


def _of(scale: Scale) -> str:
    return f", {scale.name}" if scale.name else ""
