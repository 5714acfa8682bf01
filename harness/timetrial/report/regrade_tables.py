"""Tables of what grading anew changes: verdicts, answers and classes, and a few of the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from timetrial.changes import ChangedAnswer, Outcome, SeriesChanges
from timetrial.record import Series
from timetrial.report.labels import percent, series_label, shown
from timetrial.report.table import Table

MAX_SHOWN = 60
"""Characters shown of an answer or a reason."""
ALWAYS_SHOWN: tuple[tuple[Outcome, Outcome], ...] = (("right", "wrong"), ("wrong", "right"))


def regrade_tables(changes: Sequence[SeriesChanges]) -> Iterator[Table]:
    """Make the table of what changed in each series and, if verdicts did, of some answers."""
    changed = {(each.before, each.after) for series in changes for each in series.verdicts if each.before != each.after}
    columns = list(dict.fromkeys([*ALWAYS_SHOWN, *sorted(changed)]))
    yield Table(
        title="What grading anew changes",
        columns=(
            "model",
            "task",
            "completions",
            "accuracy before, %",
            "accuracy, %",
            *(f"{before} -> {after}" for before, after in columns),
            "other answer",
            "classes split",
            "classes merged",
        ),
        rows=tuple(_row(series, columns) for series in changes),
        num_text_columns=2,
        note="In completions; unknown ones count as wrong. Other answer: extraction finds another one, or none. "
        "Classes split and merged: answers of a problem that were equivalent and are no more, or the other way round.",
    )
    if any(series.examples for series in changes):
        yield Table(
            title="Some of the answers whose verdict changes",
            columns=("model", "problem", "right is", "answer", "before", "now"),
            rows=tuple(_example(series, answer) for series in changes for answer in series.examples),
            num_text_columns=6,
        )


def _row(series: SeriesChanges, columns: Sequence[tuple[Outcome, Outcome]]) -> tuple[str, ...]:
    counts = {(each.before, each.after): each.count for each in series.verdicts}
    return (
        _name(series),
        series.task,
        f"{series.num_completions:,}",
        "-" if series.accuracy_before is None else percent(series.accuracy_before),
        percent(series.accuracy),
        *(f"{counts.get(change, 0):,}" for change in columns),
        f"{series.num_answers_changed:,}",
        f"{series.num_classes_split:,}",
        f"{series.num_classes_merged:,}",
    )


def _example(series: SeriesChanges, answer: ChangedAnswer) -> tuple[str, ...]:
    found, before = _shown(answer.answer), _shown(answer.answer_before)
    return (
        _name(series),
        f"{series.task} {answer.problem}",
        _shown(answer.gold),
        found if found == before else f"{before}, now {found}",
        answer.before,
        answer.after if answer.reason is None else f"{answer.after} ({_shown(answer.reason)})",
    )


def _name(series: SeriesChanges) -> str:
    return series_label(Series(series.model, series.task, series.temperature))


def _shown(text: str | None) -> str:
    return "-" if text is None else shown(text, MAX_SHOWN)
