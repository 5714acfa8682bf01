"""How right, how consistent, how fast and how safe the grader is, beside math-verify in the same run on one core.

    python benchmarks/grading.py [--only accuracy,relation,speed,hostile] [--data ../shared/data] [--suite FILE.jsonl]
                                 [--misses] [--full] [--repeats 3] [--json]

math-verify (an optional extra) runs without its time-outs, which would cancel the caller's alarms. Its accuracy is
measured as its README calls it, with bare answers raw, and once more with bare answers wrapped in dollars, which is
kinder to it; in a process of its own that is killed after 20 s a pair, since without time-outs it may hang. Its speed
is measured in this process, mostly on a part of the input: the rows say on how much.

Accuracy counts verdicts: right; equal by mistake; different by mistake; unknown (of math-verify: hung or raised). Rows
whose label is a matter of convention are left out. Relations are counted on answers of which some are known to confuse
graders. Speeds are the best of several repeats, with every memo of the grader and of math-verify cleared before each.
Hostile inputs are read (`key`) and graded against 17 in both directions; what counts is the time, the verdict, and the
growth of this process's peak memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grading_math_verify as math_verify
from grading_measures import Accuracy, Hostile, Miss, Relation, Speed, accuracy, hostile, relation, speeds
from rich.console import Console
from rich.markup import escape
from rich.table import Table

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"
PARTS = ("accuracy", "relation", "speed", "hostile")


def show_accuracy(rows: Sequence[Accuracy]) -> Table:
    table = Table(title="Verdicts on labelled pairs")
    for header in ("pairs", "grader", "number", "right", "equal by mistake", "different by mistake", "unknown"):
        table.add_column(header, justify="left" if header in ("pairs", "grader") else "right")
    for name, group in itertools.groupby(rows, key=lambda row: row.pairs):
        for index, row in enumerate(group):
            share = f"{row.right:,} ({row.right / max(1, row.number):.1%})"
            counts = map(str, (row.wrongly_equal, row.wrongly_different, row.unknown))
            table.add_row("" if index else name, row.grader, f"{row.number:,}", share, *counts)
        table.add_section()
    return table


def show_relation(rows: Sequence[Relation]) -> Table:
    table = Table(title="Violations of an equivalence relation (pairs and triples)")
    for header in ("relation", "answers", "not reflexive", "not symmetric", "not transitive"):
        table.add_column(header, justify="left" if header == "relation" else "right")
    for row in rows:
        table.add_row(row.grader, *(f"{value:,}" for value in row[1:]))
    return table


def show_speed(rows: Sequence[Speed]) -> Table:
    table = Table(title="Speed, one core")
    for header in ("what", "number", "seconds", "per second", "math-verify per second", "times as fast", "target"):
        table.add_column(header, justify="left" if header == "what" else "right")
    for row in rows:
        theirs = row.math_verify_per_s
        note = "" if row.measured == row.number else f" (on {row.measured:,})"
        table.add_row(
            row.what,
            f"{row.number:,}",
            f"{row.number / row.per_s:.2f}",
            f"{row.per_s:,.0f}",
            "-" if theirs is None else f"{theirs:,.0f}{note}",
            "-" if theirs is None else f"{row.per_s / theirs:,.0f}",
            f"{row.target:g}",
        )
    return table


def show_hostile(rows: Sequence[Hostile]) -> Table:
    table = Table(title="Hostile input")
    for header in ("input", "key, s", "slower verdict, s", "verdict or reason", "peak memory grew, MiB"):
        table.add_column(header, justify="left" if header in ("input", "verdict or reason") else "right")
    for row in rows:
        texts = f"{row.key_s:.4f}", f"{row.grade_s:.4f}", escape(row.verdict[:48]), f"{row.growth_mib:.1f}"
        table.add_row(escape(row.input), *texts)
    return table


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder with the data files")
    parser.add_argument(
        "--suite", type=Path, action="append", default=[], help="more labelled pairs: gold, answer, equal"
    )
    parser.add_argument("--only", default=",".join(PARTS), help="which parts, with commas between")
    parser.add_argument("--misses", action="store_true", help="list the verdicts that are not the label")
    parser.add_argument("--full", action="store_true", help="math-verify on every pair, and larger relations: minutes")
    parser.add_argument("--repeats", type=int, default=3, help="timed repeats; the least counts")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    unknown = set(options.only.split(",")).difference(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    return options


def main() -> None:
    options = parse_options()
    parts = options.only.split(",")
    console = Console(stderr=options.json)
    if not math_verify.IS_INSTALLED:
        message = "math-verify is not installed, so nothing is compared: pip install 'timetrial[math-verify]'"
        console.print(escape(message))
    result: dict[str, Sequence[Any]] = {}  # Any: rows of one of the kinds above
    misses: list[Miss] = []
    if "speed" in parts:  # first, while nothing is remembered
        result["speed"] = speeds(options.data, options.repeats)
    if "accuracy" in parts:
        result["accuracy"] = accuracy(options.data, options.suite, full=options.full, misses=misses)
    if "relation" in parts:
        result["relation"] = relation(options.data, full=options.full)
    if "hostile" in parts:
        result["hostile"] = hostile()
    if options.misses:
        result["misses"] = misses
    if options.json:
        print(json.dumps({part: [row._asdict() for row in rows] for part, rows in result.items()}, indent=2))
        return
    shows = {"speed": show_speed, "accuracy": show_accuracy, "relation": show_relation, "hostile": show_hostile}
    for part, show in shows.items():
        if part in result:
            console.print(show(result[part]))
    for miss in result.get("misses", ()):
        console.print(escape(f"{miss.pairs}: {miss.gold!r} and {miss.answer!r}: {miss.verdict}, not {miss.label}"))


if __name__ == "__main__":
    main()
