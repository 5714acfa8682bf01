"""The leaderboard as tables, one a task."""

from __future__ import annotations

from collections.abc import Iterator

from timetrial.report.labels import percent, samples_label, seconds_label
from timetrial.report.leaderboard import Leaderboard, Standing
from timetrial.report.table import Table

COLUMNS = ("rank", "run", "model", "temperature", "rule", "samples", "solved %", "95 % interval", "takes")


def leaderboard_tables(board: Leaderboard) -> Iterator[Table]:
    """Make one table per task, best first."""
    for task in dict.fromkeys(standing.task for standing in board.standings):
        yield Table(
            title=f"{task}: within {seconds_label(board.budget_s)} a problem",
            columns=COLUMNS,
            rows=tuple(_row(standing) for standing in board.standings if standing.task == task),
            num_text_columns=5,
            note="A rank with = has an interval that meets that of the first: the order may be noise. "
            "Choosing the best of many on the test set is optimistic.",
        )


def _row(standing: Standing) -> tuple[str, ...]:
    rule = standing.rule if standing.reward_model is None else f"{standing.rule} ({standing.reward_model})"
    return (
        f"{standing.rank}{'=' if standing.overlaps_best and standing.rank > 1 else ''}",
        standing.run,
        standing.model,
        f"{standing.temperature:g}",
        rule,
        samples_label(standing.k),
        percent(standing.value),
        f"{percent(standing.low)} to {percent(standing.high)}",
        seconds_label(standing.seconds),
    )
