"""The leaderboard as tables, one a task."""

from __future__ import annotations

from collections.abc import Iterator

from timetrial.report.labels import CHOSEN_HERE, percent, rule_name, samples_label, seconds_label
from timetrial.report.leaderboard import Leaderboard, Standing
from timetrial.report.table import Table

COLUMNS = ("rank", "run", "model", "temperature", "rule", "verifier", "samples", "solved %", "95 % interval", "takes")


def leaderboard_tables(board: Leaderboard) -> Iterator[Table]:
    """Make one table per task, best first."""
    for task in dict.fromkeys(standing.task for standing in board.standings):
        yield Table(
            title=f"{task}: within {seconds_label(board.budget_s)} per problem",
            columns=COLUMNS,
            rows=tuple(_row(standing) for standing in board.standings if standing.task == task),
            num_text_columns=6,
            note=f"Seconds per problem; prefill not counted. {_verifier_note(board, task)}A rank with = has an "
            f"interval that meets that of the first: the order may be noise. {CHOSEN_HERE}",
        )


_VERIFIER = {None: "-", True: "counted", False: "not counted"}


def _verifier_note(board: Leaderboard, task: str) -> str:
    """Say what the verifier's seconds are, if there are verifiers."""
    counts = {standing.counts_verifier for standing in board.standings if standing.task == task}
    if False in counts:
        return "Verifier not counted: nobody timed it, so the row looks quicker than it is (`timetrial score`). "
    return "What the verifier takes to score all samples is counted. " if True in counts else ""


def _row(standing: Standing) -> tuple[str, ...]:
    return (
        f"{standing.rank}{'=' if standing.overlaps_best and standing.rank > 1 else ''}",
        standing.run,
        standing.model,
        f"{standing.temperature:g}",
        rule_name(standing.rule, standing.reward_model, standing.reduction, standing.gamma),
        _VERIFIER[standing.counts_verifier],
        samples_label(standing.k),
        percent(standing.value),
        f"{percent(standing.low)} to {percent(standing.high)}",
        seconds_label(standing.seconds),
    )
