"""Every table of the report, in sections, and tables.md made of them."""

from __future__ import annotations

import json
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
from timetrial.report.deadline_tables import deadline_tables
from timetrial.report.grading_tables import grader_tables, grading_tables, unknown_tables
from timetrial.report.labels import series_label
from timetrial.report.replay_tables import replay_tables
from timetrial.report.score_tables import score_tables
from timetrial.report.table import Table, escape_markdown, to_markdown, without_repeated_notes
from timetrial.report.timing_tables import measured_tables

PROVENANCE = "Provenance"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Tables that belong together."""

    title: str
    tables: tuple[Table, ...]


def make_sections(report: ReportData) -> tuple[Section, ...]:
    """Make all tables of a report; a section without any is left out."""
    curves, analysis = report.curves, report.analysis
    within = list(best_tables(curves))
    equal: list[Table] = []
    fair: list[Table] = []
    seconds, pools = list(measured_tables(report)), list(sampling_tables(report.statistics))
    verifiers = list(score_tables(report))
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
        "Reward models": verifiers,
        "Differences between models": fair,
        "At a deadline": deadline_tables(report.replay) if report.replay else (),
        "By actual lengths": replay_tables(report.replay) if report.replay else (),
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
