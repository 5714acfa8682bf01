"""Every table of the report, in sections, and tables.md made of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timetrial.report.analysis_tables import (
    budget_tables,
    difference_tables,
    front_tables,
    pool_tables,
    reach_tables,
    speed_up_tables,
    time_tables,
)
from timetrial.report.curve_tables import best_tables, samples_tables
from timetrial.report.data import ReportData, SeriesStatistics
from timetrial.report.grading_tables import grader_tables, grading_tables, unknown_tables
from timetrial.report.grid import Cell, by_workload, timing_cells
from timetrial.report.labels import bytes_label, seconds_label, series_label
from timetrial.report.table import Table, escape_markdown, to_markdown, without_repeated_notes

PROVENANCE = "Provenance"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Tables that belong together."""

    title: str
    tables: tuple[Table, ...]


def make_sections(report: ReportData) -> tuple[Section, ...]:
    """Make all tables of a report; a section without any is left out."""
    curves, analysis, cells = report.curves, report.analysis, timing_cells(report.timings)
    within = list(best_tables(curves))
    equal: list[Table] = []
    fair: list[Table] = []
    seconds, pools = list(timing_tables(cells, report.machines)), list(sampling_tables(report.statistics))
    if analysis:
        within += budget_tables(analysis, curves)
        equal += [*front_tables(analysis, curves), *reach_tables(analysis, curves), *speed_up_tables(analysis, curves)]
        fair += difference_tables(analysis.comparisons, curves)
        seconds = [*time_tables(analysis.time_tables), *seconds]
        pools = [*pool_tables(analysis), *pools]
    sections = {
        "Within T seconds": within,
        "The Pareto front and equal quality": equal,
        "By samples": samples_tables(curves),
        "Grading": [
            *grading_tables(report.grading),
            *unknown_tables(report.unknown_answers),
            *grader_tables(report.graders),
        ],
        "Differences between models": fair,
        "Timing": seconds,
        "Sampling": pools,
        PROVENANCE: provenance_tables(report),
    }
    made = (Section(title=title, tables=tuple(tables)) for title, tables in sections.items())
    return tuple(section for section in made if section.tables)


def render_markdown(report: ReportData, sections: Sequence[Section]) -> str:
    """Return tables.md."""
    parts = [f"# {escape_markdown(report.title)}\n"]
    parts += [f"> Warning: {escape_markdown(warning)}\n" for warning in report.warnings]
    for section in sections:
        parts.append(f"## {escape_markdown(section.title)}\n")
        parts += [to_markdown(table) for table in without_repeated_notes(section.tables)]
    return "\n".join(parts)


def timing_tables(cells: Sequence[Cell], machines: Mapping[str, str] | None = None) -> Iterator[Table]:
    """Make one table per machine and shape: a row per model and batch size; `machines` names environment keys."""
    for (environment, prompt_tokens, new_tokens), shown in by_workload(cells).items():
        machine = (machines or {}).get(environment, environment)
        yield Table(
            title=f"Batches of {prompt_tokens} prompt tokens and {new_tokens} new tokens on {machine}",
            columns=(
                "model",
                "batch",
                "decode median",
                "fastest",
                "slowest",
                "repeats",
                "tokens/s",
                "prefill median",
                "warm-up",
                "peak memory",
            ),
            rows=tuple(_timing_row(cell) for cell in shown),
            note="Decode seconds of the whole batch, prefill apart. Warm-up: decode seconds of the untimed first "
            "runs, never part of a mean. Tokens per second: batch times new tokens over the median.",
        )


def sampling_tables(series: Sequence[SeriesStatistics]) -> Iterator[Table]:
    """Make the table of what became of the completions."""
    if series:
        yield Table(
            title="What became of the completions",
            columns=(
                "model",
                "task",
                "problems",
                "completions",
                "cut at the limit",
                "failed",
                "all alike",
                "mean tokens",
            ),
            rows=tuple(_sampling_row(each) for each in series),
            num_text_columns=2,
            note="Cut at the limit: of tokens, whether an answer came before or not. Failed: generation broke off. All "
            "alike: problems whose completions are all the same text.",
        )


def provenance_tables(report: ReportData) -> Iterator[Table]:
    """Make the tables of the run's configuration and of the machines."""
    for title, facts in (("Configuration", report.config), ("Environment", report.environment)):
        if facts:
            rows = tuple(_flatten(facts))
            yield Table(title=title, columns=("setting", "value"), rows=rows, num_text_columns=2)


def _timing_row(cell: Cell) -> tuple[str, ...]:
    repeats = f"{len(cell.decode_s)}" + (f", {cell.num_out_of_memory} out of memory" if cell.num_out_of_memory else "")
    warmup = ", ".join(seconds_label(second) for second in cell.warmup_s) or "-"
    peak = bytes_label(cell.peak_bytes) if cell.peak_bytes is not None else "-"
    if not cell.decode_s:
        return (cell.model, str(cell.batch), "out of memory", "-", "-", repeats, "-", "-", warmup, peak)
    return (
        cell.model,
        str(cell.batch),
        seconds_label(cell.median_s),
        seconds_label(min(cell.decode_s)),
        seconds_label(max(cell.decode_s)),
        repeats,
        f"{cell.batch * cell.workload.new_tokens / cell.median_s:,.0f}",
        seconds_label(statistics.median(cell.prefill_s)) if cell.prefill_s else "-",
        warmup,
        peak,
    )


def _sampling_row(series: SeriesStatistics) -> tuple[str, ...]:
    shares = (series.num_truncated, series.num_errors)
    total = max(series.num_completions, 1)
    return (
        series_label(series.series),
        series.series.task,
        str(series.num_problems),
        f"{series.num_completions:,}",
        *(f"{count:,} ({100 * count / total:.1f} %)" if count else "0" for count in shares),
        str(series.num_identical_problems),
        f"{series.mean_tokens:.0f}" if series.mean_tokens is not None else "-",
    )


def _flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:  # Any: JSON values
    """Yield nested facts as dotted names and values."""
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
