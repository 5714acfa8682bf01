"""Stage 6: gather what the report shows from the files of a run, and write it. Holds one completion at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import jsonlines

from timetrial.analysis import analysis_from_json
from timetrial.graded_by import recorded_graders
from timetrial.record import Completion, Curve, Grade, Problem, SampleKey, Series, Timing, from_json
from timetrial.replay_record import replay_from_json
from timetrial.report.data import Example, GraderFacts, ReportData, SeriesStatistics
from timetrial.report.labels import percent
from timetrial.report.write import write_report
from timetrial.stages.derive_replay import REPLAY_FILE
from timetrial.stages.tally import Grading, gather_grading, gather_statistics
from timetrial.stages.tally_scores import gather_scoring
from timetrial.store import RunFolder, problems_file

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
    replay = folder.read_json(REPLAY_FILE)
    statistics = gather_statistics(folder)
    problems = {task: read_problems(folder.path, task) for task in config.get("tasks", {})}
    grading = gather_grading(folder, config, problems)
    return ReportData(
        title=folder.path.resolve().name,
        curves=tuple(from_json(Curve, curve) for curve in stored["curves"]),
        analysis=analysis_from_json(stored["analysis"]) if stored["analysis"] else None,
        timings=tuple(folder.read(Timing)),
        statistics=statistics,
        grading=grading.statistics,
        scoring=gather_scoring(folder),
        graders=tuple(_grader_facts(config)),
        unknown_answers=grading.unknown_answers,
        examples=gather_examples(folder, problems),
        config=config,
        environment=environment,
        replay=replay_from_json(replay) if replay else None,
        budget_s=config.get("config", {}).get("budget_s"),
        warnings=(*_sampling_warnings(statistics), *_grading_warnings(grading, config), *_load_warnings(environment)),
    )


def _grader_facts(config: Facts) -> Iterator[GraderFacts]:
    for task, facts in config.get("tasks", {}).items():
        recorded = recorded_graders(facts)
        for role, grader in (("grader", recorded), ("second opinion", recorded.get("second_opinion"))):
            if grader:
                yield GraderFacts(task=task, role=role, name=grader["grader"], policy=grader.get("policy", {}))


def gather_examples(folder: RunFolder, problems: Mapping[str, Mapping[str, Problem]]) -> tuple[Example, ...]:
    """Pick, per series, the first right, the first wrong and the first unanswered completion."""
    wanted: dict[tuple[Series, str], Grade] = {}
    for grade in folder.read(Grade):
        outcome = "none" if grade.answer is None else str(grade.correct)
        wanted.setdefault((grade.series, outcome), grade)
    by_key: dict[SampleKey, Grade] = {grade.key: grade for grade in wanted.values()}
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
    path = run / problems_file(task)
    if not path.is_file():
        return {}
    with jsonlines.open(path) as reader:
        return {line["id"]: from_json(Problem, line) for line in reader.iter(type=dict)}


def _sampling_warnings(statistics: Iterable[SeriesStatistics]) -> list[str]:
    warnings = []
    for series in statistics:
        name = _name(series.series)
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
    return warnings


def _grading_warnings(grading: Grading, config: Facts) -> list[str]:
    warnings = []
    for series in grading.statistics:
        low, high = series.accuracy_bounds
        if series.num_unknown:
            warnings.append(
                f"{_name(series.series)}: the grader could not judge {series.num_unknown} answers; they count as "
                f"wrong. If all were right, accuracy would be {percent(high)} instead of {percent(low)} %."
            )
        recorded = recorded_graders(config.get("tasks", {}).get(series.series.task, {}))
        known = (recorded.get("grader"), (recorded.get("second_opinion") or {}).get("grader"))
        if others := [name for name in series.graders if name not in known]:
            warnings.append(
                f"{_name(series.series)}: some verdicts are of {', '.join(others)}, but the run records {known[0]}. "
                "`timetrial grade` makes them alike."
            )
    return warnings


def _name(series: Series) -> str:
    return f"{series.model} on {series.task} at T = {series.temperature:g}"


def _load_warnings(environment: Facts) -> list[str]:
    return [
        f"the machine was busy when it was timed (load average {entry['load_average'][0]:.1f} on {entry['cores']} "
        "cores): seconds may be too long."
        for entry in environment.values()
        if entry.get("load_average") and entry["load_average"][0] > 1.5 * entry["cores"]
    ]
