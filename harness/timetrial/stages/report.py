"""Stage 6: gather what the report shows from the files of a run, and write it. Holds one completion at a time."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import jsonlines

from timetrial.analysis import analysis_from_json
from timetrial.record import Completion, Curve, Grade, Problem, SampleKey, Series, Timing, from_json
from timetrial.report.data import Example, ReportData, SeriesStatistics
from timetrial.report.write import write_report
from timetrial.store import RunFolder

REPORT_FOLDER = "report"

Facts = Mapping[str, Any]  # Any: JSON-ready


def write_run_report(folder: RunFolder) -> tuple[Path, ...]:
    """Write the report of a run folder from its files alone; return what was written."""
    return write_report(gather_report(folder), folder.path / REPORT_FOLDER)


def gather_report(folder: RunFolder) -> ReportData:
    """Read everything the report shows."""
    stored = folder.read_json("curves.json") or {"curves": [], "analysis": {}}
    config = folder.read_json("config.json") or {}
    environment = folder.read_json("environment.json") or {}
    statistics = gather_statistics(folder)
    return ReportData(
        title=folder.path.resolve().name,
        curves=tuple(from_json(Curve, curve) for curve in stored["curves"]),
        analysis=analysis_from_json(stored["analysis"]) if stored["analysis"] else None,
        timings=tuple(folder.read(Timing)),
        statistics=statistics,
        examples=gather_examples(folder, config),
        config=config,
        environment=environment,
        budget_s=config.get("config", {}).get("budget_s"),
        warnings=(*_warnings(statistics), *_load_warnings(environment)),
    )


@dataclass(kw_only=True, slots=True)
class _Tally:
    """Running counts of one series; becomes a SeriesStatistics."""

    samples: Counter[str] = field(default_factory=Counter)
    """Completions of each problem."""
    texts: dict[str, set[bytes]] = field(default_factory=dict)
    """Digests of the different texts of each problem, the first two of them: more are not needed."""
    truncated: int = 0
    errors: int = 0
    no_answer: int = 0
    unknown: int = 0
    tokens: int = 0
    known_lengths: int = 0

    def add(self, completion: Completion) -> None:
        self.samples[completion.problem] += 1
        texts = self.texts.setdefault(completion.problem, set())
        if len(texts) < 2:
            texts.add(hashlib.blake2b(completion.text.encode("utf-8", "replace"), digest_size=8).digest())
        self.truncated += completion.finish == "length"
        self.errors += completion.finish == "error"
        if completion.num_tokens is not None and completion.finish != "error":
            self.tokens += completion.num_tokens
            self.known_lengths += 1

    def num_identical(self) -> int:
        """Count the problems whose completions are all the same text; fewer than four can agree by chance."""
        return sum(len(self.texts[problem]) == 1 for problem, number in self.samples.items() if number >= 4)

    def add_grade(self, grade: Grade) -> None:
        self.no_answer += grade.answer is None
        self.unknown += grade.answer is not None and grade.correct is None


def gather_statistics(folder: RunFolder) -> tuple[SeriesStatistics, ...]:
    """Count, per series, what became of the completions."""
    tallies: dict[Series, _Tally] = defaultdict(_Tally)
    for completion in folder.read(Completion):
        tallies[completion.series].add(completion)
    for grade in folder.read(Grade):
        tallies[Series(grade.model, grade.task, grade.temperature)].add_grade(grade)
    return tuple(
        SeriesStatistics(
            series=series,
            num_problems=len(tally.samples),
            num_completions=tally.samples.total(),
            num_truncated=tally.truncated,
            num_no_answer=tally.no_answer,
            num_errors=tally.errors,
            num_unknown=tally.unknown,
            num_identical_problems=tally.num_identical() if series.temperature > 0 else 0,
            mean_tokens=tally.tokens / tally.known_lengths if tally.known_lengths else None,
        )
        for series, tally in tallies.items()
    )


def gather_examples(folder: RunFolder, config: Facts) -> tuple[Example, ...]:
    """Pick, per series, the first right, the first wrong and the first unanswered completion."""
    wanted: dict[tuple[Series, str], Grade] = {}
    for grade in folder.read(Grade):
        outcome = "none" if grade.answer is None else str(grade.correct)
        wanted.setdefault((Series(grade.model, grade.task, grade.temperature), outcome), grade)
    by_key: dict[SampleKey, Grade] = {grade.key: grade for grade in wanted.values()}
    problems = {task: read_problems(folder.path, task) for task in config.get("tasks", {})}
    found = (completion for completion in folder.read(Completion) if completion.key in by_key)
    return tuple(
        Example(
            problem=problems[completion.task][completion.problem],
            completion=completion,
            grade=by_key[completion.key],
        )
        # Stop at the last one: they stand near the beginning of a file that may be very long.
        for completion in islice(found, len(by_key))
        if completion.problem in problems.get(completion.task, {})
    )


def read_problems(run: Path, task: str) -> dict[str, Problem]:
    """Return the problems of a task that the run stored, by id; empty if it stored none."""
    path = run / f"problems-{task}.jsonl"
    if not path.is_file():
        return {}
    with jsonlines.open(path) as reader:
        return {line["id"]: from_json(Problem, line) for line in reader.iter(type=dict)}


def _warnings(statistics: Iterable[SeriesStatistics]) -> list[str]:
    warnings = []
    for series in statistics:
        name = f"{series.series.model} on {series.series.task} at T = {series.series.temperature:g}"
        if series.num_identical_problems * 2 > series.num_problems:
            warnings.append(
                f"{name}: all samples of {series.num_identical_problems} of {series.num_problems} problems are "
                "identical. Is it sampling greedily by accident?"
            )
        if series.num_errors:
            warnings.append(f"{name}: {series.num_errors} completions failed; they abstain.")
        if series.num_truncated * 10 > series.num_completions:
            share = series.num_truncated / series.num_completions
            warnings.append(f"{name}: {share:.0%} of the completions were cut at the token limit.")
        if series.num_unknown:
            warnings.append(f"{name}: the grader could not judge {series.num_unknown} answers; they count as wrong.")
    return warnings


def _load_warnings(environment: Facts) -> list[str]:
    return [
        f"the machine was busy when it was timed (load average {entry['load_average'][0]:.1f} on {entry['cores']} "
        "cores): seconds may be too long."
        for entry in environment.values()
        if entry.get("load_average") and entry["load_average"][0] > 1.5 * entry["cores"]
    ]
