"""Tables of reasoning and general benchmarks: by checkpoint, and how they go together."""

from __future__ import annotations

from collections.abc import Iterator

from timetrial.general_stages import GeneralReport
from timetrial.report.general_labels import interval_label, score_label
from timetrial.report.table import Table


def general_tables(report: GeneralReport) -> Iterator[Table]:
    """Make a row for each checkpoint, and one for each pair of a reasoning task and a general benchmark."""
    ordered = dict.fromkeys([ref for chain in report.chains for ref in chain] + list(report.checkpoints))
    yield Table(
        title="Reasoning and general benchmarks by stage",
        columns=("checkpoint", "stage", "from", *(f"{task} acc@1, %" for task in report.reasoning), *report.general),
        rows=tuple(
            (
                ref,
                item.stage or "-",
                item.before or "-",
                *(score_label(item.reasoning.get(task)) for task in report.reasoning),
                *(score_label(item.general.get(label)) for label in report.general),
            )
            for ref, item in ((ref, report.checkpoints[ref]) for ref in ordered)
        ),
        num_text_columns=3,
        note="Percent +- standard error over problems. acc@1: greedy answers that are right.",
    )
    yield Table(
        title="Do they move together? Correlation over checkpoints",
        columns=("general benchmark", "reasoning task", "checkpoints", "Pearson", "Spearman"),
        rows=tuple(
            (
                pair.general,
                pair.reasoning,
                f"{len(pair.refs):,}",
                interval_label(pair.correlation.pearson),
                interval_label(pair.correlation.spearman),
            )
            for pair in report.pairs
        ),
        num_text_columns=2,
        note="With 95 % intervals, bootstrap over checkpoints; none below five. Stages of one model are taken for "
        "independent of each other, which they are not: intervals are rather too narrow.",
    )
