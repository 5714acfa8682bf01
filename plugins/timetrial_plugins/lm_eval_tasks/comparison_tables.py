"""Tables of two graders on the same completions: how often they agree, and where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from timetrial.report.labels import percent, shown
from timetrial.report.table import Table
from timetrial_plugins.lm_eval_tasks.comparison import ComparedAnswer, GraderComparison, Ours, Theirs

MAX_SHOWN = 48
"""Characters shown of an answer or a reason."""
OURS: tuple[Ours, ...] = ("right", "wrong", "no answer", "unknown")
THEIRS: tuple[Theirs, ...] = ("right", "wrong", "failed")


def comparison_tables(comparisons: Sequence[GraderComparison], num_shown: int) -> Iterator[Table]:
    """Make a table of counts for each metric, and one of the first completions on which it differs."""
    for comparison in comparisons:
        yield _counts(comparison)
        if comparison.differing and num_shown:
            yield _differing(comparison, num_shown)


def _counts(comparison: GraderComparison) -> Table:
    total = comparison.num_completions
    ours = sum(count for (own, _), count in comparison.counts.items() if own == "right")
    theirs = sum(count for (_, other), count in comparison.counts.items() if other == "right")
    return Table(
        title=f"{comparison.task}: timetrial's grader and {comparison.lm_eval_task}'s {comparison.metric}",
        columns=("timetrial", *(f"lm-eval: {word}" for word in THEIRS)),
        rows=tuple(
            (own, *(f"{comparison.counts.get((own, other), 0):,}" for other in THEIRS))
            for own in OURS
            if own != "unknown" or any((own, other) in comparison.counts for other in THEIRS)
        ),
        note=f"{total:,} completions: {percent(ours / total)} % right by timetrial, {percent(theirs / total)} % by "
        f"lm-eval. The two differ on {len(comparison.differing):,}. Failed: no verdict, for the reason listed.",
    )


def _differing(comparison: GraderComparison, num_shown: int) -> Table:
    listed = comparison.differing[:num_shown]
    rest = len(comparison.differing) - len(listed)
    return Table(
        title=f"Where they differ ({comparison.metric})",
        columns=("model", "problem", "sample", "right is", "timetrial finds", "timetrial", "lm-eval finds", "lm-eval"),
        rows=tuple(map(_row, listed)),
        num_text_columns=8,
        note=f"{rest:,} more: --show, or --json for all." if rest else "",
    )


def _row(answer: ComparedAnswer) -> tuple[str, ...]:
    reason = "" if answer.reason is None else f" ({shown(answer.reason, MAX_SHOWN)})"
    return (
        answer.model,
        answer.problem,
        str(answer.sample),
        shown(answer.gold, MAX_SHOWN),
        _shown(answer.our_answer),
        answer.ours + (reason if answer.ours in ("unknown", "no answer") else ""),
        _shown(answer.their_answer),
        answer.theirs + (reason if answer.theirs == "failed" else ""),
    )


def _shown(text: str | None) -> str:
    return "-" if text is None else shown(text, MAX_SHOWN)
