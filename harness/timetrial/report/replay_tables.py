"""The tables of replay: seconds of k samples by their actual lengths, of a busy engine, of a step, and the proof."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from timetrial.record import Series
from timetrial.replay_record import Missing, Replay, ReplayedSeconds, StepFit, Throughput, Validation
from timetrial.report.labels import percent, seconds_label, series_label, split_label
from timetrial.report.table import Table
from timetrial.statistics.subset_seconds import MODES, Mode


def replay_tables(replay: Replay) -> Iterator[Table]:
    """Make all tables of seconds; those of deadlines are `deadline_tables`'."""
    yield from seconds_tables(replay.seconds)
    yield from throughput_tables(replay.throughput)
    yield from validation_tables(replay.validations)
    yield from fit_tables(replay.fits)
    yield from missing_tables(replay.missing)


def seconds_tables(replayed: Sequence[ReplayedSeconds]) -> Iterator[Table]:
    """Make one table per task: a row per series and k."""
    for task in dict.fromkeys(each.task for each in replayed):
        shown = [each for each in replayed if each.task == task]
        yield Table(
            title=f"{task}: decode seconds of k samples by their actual lengths",
            columns=("model", "k", "T*(k)", "static batch", "95 % interval", "compact batch", "95 % interval"),
            rows=tuple(row for each in shown for row in _seconds_rows(each)),
            note="T*(k): all samples take the same number of steps, as timed. Static and compact: expected seconds of "
            "a random k of a problem's completions, the mean over problems; a static batch stays at its size until its "
            "longest completion ends, from a compact one finished rows leave. Prefill and verifier are left out. "
            + " ".join(_lengths(each) for each in shown),
        )


def _seconds_rows(each: ReplayedSeconds) -> Iterator[tuple[str, ...]]:
    for at, k in enumerate(each.ks):
        yield (
            series_label(_series(each)),
            str(k),
            seconds_label(each.mapped_s[at]),
            split_label(each.static_s[at], each.static_splits[at]),
            _interval(each.static_low[at], each.static_high[at]),
            split_label(each.compact_s[at], each.compact_splits[at]),
            _interval(each.compact_low[at], each.compact_high[at]),
        )


def _lengths(each: ReplayedSeconds) -> str:
    left_out = f", {each.num_left_out} left out" if each.num_left_out else ""
    return (
        f"{series_label(_series(each))}: {each.num_problems} problems{left_out}, completions of {each.mean_tokens:.0f} "
        f"tokens in the mean and {each.longest_tokens} at most."
    )


def throughput_tables(busy: Sequence[Throughput]) -> Iterator[Table]:
    """Make one table per task: a row per series and number of rows."""
    for task in dict.fromkeys(each.task for each in busy):
        yield Table(
            title=f"{task}: throughput of a busy engine",
            columns=("model", "rows", "rows in use", "samples per problem", "per problem", "tokens/s"),
            rows=tuple(
                (
                    series_label(_series(each)),
                    str(each.rows),
                    f"{each.mean_rows:.1f}",
                    str(each.num_samples),
                    seconds_label(each.problem_s),
                    f"{each.tokens_per_s:,.0f}",
                )
                for each in busy
                if each.task == task
            ),
            note="All completions of all problems through so many rows, each refilled as soon as it is free. Per "
            "problem: wall seconds of the whole over the number of problems, a rate under this load and not the time "
            "that anybody waits for an answer; it does not compare with the other seconds here. Prefill left out.",
        )


def validation_tables(validations: Sequence[Validation]) -> Iterator[Table]:
    """Make a table of every series generated end to end, and one of its problems."""
    groups: dict[tuple[Series, int], list[Validation]] = {}
    for each in validations:
        groups.setdefault((_series(each), each.num_samples), []).append(each)
    if groups:
        sums = ("static", "by problem", "compact", "by problem")
        yield Table(
            title="Replay against the wall clock",
            columns=("model", "task", "replay", "k", "problems", "measured", *sums),
            rows=tuple(row for shown in groups.values() for row in _overall_rows(shown)),
            num_text_columns=3,
            note="Problems generated end to end, k completions in one call: prefill, decoding and the making of texts. "
            "Static and compact: replayed seconds of the very lengths that came out, prefill included, over the "
            "measured ones, the sums of all problems; by problem: median and range. 1 is a perfect replay; which "
            "of the two applies depends on what the engine does with finished rows. At the present speed: replay times "
            "the slowdown, which is the seconds of a batch of the timing grid now over those of the run.",
        )
        yield Table(
            title="Replay against the wall clock, by problem",
            columns=("model", "problem", "k", "repeats", "measured", "fastest", "slowest", *MODES, "slowdown"),
            rows=tuple(_problem_row(each) for each in validations),
            num_text_columns=2,
        )


def _overall_rows(shown: Sequence[Validation]) -> Iterator[tuple[str, ...]]:
    first = shown[0]
    measured = f"{seconds_label(sum(each.wall_s for each in shown) / len(shown))} a problem"
    for name, slowdowns in (("as timed", [1.0] * len(shown)), ("at the present speed", [e.slowdown for e in shown])):
        cells = []
        for mode in MODES:
            ratios = [_ratio(each, mode) * slowdown for each, slowdown in zip(shown, slowdowns, strict=True)]
            cells += [
                f"x{_weighted(ratios, shown):.2f}",
                f"{statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}",
            ]
        counts = (str(first.num_samples), str(len(shown)))
        yield (series_label(_series(first)), first.task, name, *counts, measured, *cells)


def _problem_row(each: Validation) -> tuple[str, ...]:
    return (
        series_label(_series(each)),
        each.problem,
        str(each.num_samples),
        str(each.num_repeats),
        *(seconds_label(seconds) for seconds in (each.wall_s, each.fastest_s, each.slowest_s)),
        *(f"x{_ratio(each, mode):.2f}" for mode in MODES),
        f"x{each.slowdown:.2f}",
    )


def overall_ratios(validations: Sequence[Validation]) -> dict[str, float]:
    """Return replayed over measured seconds of all problems together, by mode, as timed and at the present speed."""
    ratios = {}
    for mode in MODES:
        plain = [_ratio(each, mode) for each in validations]
        ratios[str(mode)] = _weighted(plain, validations)
        at_present = [ratio * each.slowdown for ratio, each in zip(plain, validations, strict=True)]
        ratios[f"{mode}_at_present_speed"] = _weighted(at_present, validations)
    return ratios


def _ratio(each: Validation, mode: Mode) -> float:
    """Return replayed over measured seconds of one problem."""
    return (each.static_s if mode == "static" else each.compact_s) / each.wall_s


def _weighted(ratios: Sequence[float], validations: Sequence[Validation]) -> float:
    """Return the mean of ratios by measured seconds: the ratio of the sums."""
    seconds = [each.wall_s for each in validations]
    return sum(ratio * second for ratio, second in zip(ratios, seconds, strict=True)) / sum(seconds)


def fit_tables(fits: Sequence[StepFit]) -> Iterator[Table]:
    """Make the table of what a step takes."""
    if fits:
        yield Table(
            title="Seconds of a step, as fitted",
            columns=("model", "form", "w0", "w1", "w2", "contexts", "batches", "residual", "affine residual"),
            rows=tuple(_fit_row(fit) for fit in fits),
            num_text_columns=2,
            note="Affine: w0 + w1 b + w2 b L, for b sequences with contexts of L tokens. Where it is further than 5 % "
            "off at any timed batch, the batches themselves are used, each with its own growth, and a line between "
            "them (piecewise). Residual: the largest, relative to the timed median, of the form in use; with two "
            "contexts a piecewise form meets every median.",
        )


def _fit_row(fit: StepFit) -> tuple[str, ...]:
    weights = [seconds_label(weight) if weight else "0" for weight in fit.weights] if fit.weights else ["-"] * 3
    return (
        fit.model,
        fit.form,
        *weights,
        ", ".join(f"{context:,.0f}" for context in fit.contexts),
        f"{len(fit.batches)}, up to {fit.batches[-1]}",
        f"{percent(fit.largest_residual)} %",
        "-" if fit.affine_residual is None else f"{percent(fit.affine_residual)} %",
    )


def missing_tables(missing: Sequence[Missing]) -> Iterator[Table]:
    """Make the table of what could not be replayed."""
    if missing:
        yield Table(
            title="Not replayed",
            columns=("what", "why"),
            rows=tuple((each.what, each.reason) for each in missing),
            num_text_columns=2,
        )


def _series(each: ReplayedSeconds | Throughput | Validation) -> Series:
    return Series(each.model, each.task, each.temperature)


def _interval(low: float, high: float) -> str:
    return f"{seconds_label(low)} to {seconds_label(high)}"
