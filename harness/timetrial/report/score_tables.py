"""Tables of the reward models: what they scored, what that takes, and which of their seconds are not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from timetrial.analysis import Analysis, TimeTable
from timetrial.report.data import ReportData, ScoringStatistics
from timetrial.report.labels import percent, series_label, split_label
from timetrial.report.table import Cell, Table, pivot


def score_tables(report: ReportData) -> Iterator[Table]:
    """Make the tables of what was scored and of what scoring takes."""
    yield from scoring_tables(report.scoring)
    if report.analysis:
        yield from verifier_tables(report.analysis)


def scoring_tables(scoring: Sequence[ScoringStatistics]) -> Iterator[Table]:
    """Make the table of what reward models made of the completions."""
    if scoring:
        kinds = dict.fromkeys(kind for each in scoring for kind, _ in each.unscored)
        yield Table(
            title="What reward models made of the completions",
            columns=("model", "task", "reward model", "scored", *kinds, "mean steps"),
            rows=tuple(
                (
                    series_label(each.series),
                    each.series.task,
                    each.reward_model,
                    f"{each.num_scored:,}",
                    *(_count(dict(each.unscored).get(kind, 0), each.num_completions) for kind in kinds),
                    "-" if each.mean_steps is None else f"{each.mean_steps:.1f}",
                )
                for each in scoring
            ),
            num_text_columns=3,
            note=_UNSCORED_NOTE if kinds else "",
        )


_UNSCORED_NOTE = (
    "After the scored ones those without a score, by kind of reason: they abstain where scores decide, vote in a "
    "majority, and count in coverage."
)


def verifier_tables(analysis: Analysis) -> Iterator[Table]:
    """Make the tables of T*(k) of scoring k samples, of its part in the whole, and of what is not known of it."""
    if analysis.verifier_tables:
        yield pivot(
            "Seconds of scoring k samples of one problem",
            ("reward model", "reads"),
            (
                Cell((table.model, _reads(table)), f"k = {k}", split_label(seconds, split))
                for table in analysis.verifier_tables
                for k, seconds, split in zip(table.ks, table.seconds, table.splits, strict=True)
            ),
            "The cheapest sequence of batches that holds k solutions, all different and of the mean length of the "
            "run's completions; in brackets where that is more than one.",
        )
    if analysis.verifier_tables and analysis.time_tables:
        yield pivot(
            "The verifier's part in the seconds of k samples",
            ("model", "reward model"),
            (
                Cell((model.model, verifier.model), f"k = {k}", _part(model, verifier, k))
                for model in analysis.time_tables
                for verifier in analysis.verifier_tables
                for k in model.ks
                if k in verifier.ks
            ),
            "Percent of decoding and scoring together. Best-of-N and weighted votes cost both, a majority vote costs "
            "decoding alone.",
        )
    if analysis.untimed_verifiers:
        yield Table(
            title="Reward models whose seconds are not counted",
            columns=("reward model", "reason"),
            rows=tuple((each.reward_model, each.reason) for each in analysis.untimed_verifiers),
            num_text_columns=2,
            note="The rules that take their scores have curves of generation alone, as in the paper: they look quicker "
            "than they are.",
        )


def _reads(table: TimeTable) -> str:
    return f"{table.new_tokens} tokens after {table.prompt_tokens}"


def _part(model: TimeTable, verifier: TimeTable, k: int) -> str:
    decoding, scoring = (table.seconds[table.ks.index(k)] for table in (model, verifier))
    return percent(scoring / (decoding + scoring))


def _count(count: int, total: int) -> str:
    return f"{count:,} ({percent(count / total)} %)" if count else "0"
