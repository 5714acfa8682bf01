"""Turn public files of other projects into records: completion dumps and tables of counts.

Three shapes are recognised by their content:

    completions   the layout of search-and-learn's dumps, one row per problem: `problem`, `answer`, `completions` and,
                  if there, `unique_id`, `level`, `subject`, `completion_tokens` (-1: unknown), `scores` (a list of
                  step scores per completion). JSON lines or Parquet.
    count rows    one row per problem: `problem`, `n`, `correct` and, if there, `model`, `task`, `temperature`.
                  JSON lines or CSV.
    count table   one JSON object: `counts[problem][seed]`, `ns` (a number, or as `counts`), `uids`.

Records are yielded as the file is read: at most a few rows are in memory. Answers and verdicts are not imported; the
grade stage makes them from the texts, and `majority_disagreements` compares them with the file's own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from timetrial.error import DataError, UsageError
from timetrial.protocol import Task
from timetrial.record import Completion, Count, Problem, StepScores
from timetrial.rows import Row, file_format, missing_column, read_rows

Imported = Problem | Completion | StepScores | Count
Value = TypeVar("Value")

DEFAULT_MAX_TOKENS = 2048
MAX_TABLE_BYTES = 100_000_000
DUMP_COLUMNS = ("problem", "answer", "completions")
DUMP_OPTIONAL = ("unique_id", "level", "subject", "completion_tokens", "scores")
COUNT_COLUMNS = ("problem", "n", "correct")
COUNT_OPTIONAL = ("model", "task", "temperature")
_MODEL_NAME = re.compile(r"([\w.-]+?)-best-of-N-completions")
_TEMPERATURE = re.compile(r"--T-(\d+(?:\.\d+)?)(?=--|$)")
_MAX_TOKENS = re.compile(r"--max_tokens-(\d+)(?=--|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportOptions:
    """What the files leave unsaid, and who grades.

    A model, temperature or token limit of None is read from the file or from its path in search-and-learn's style.
    """

    model: str | None = None
    task: str = "math-500"
    temperature: float | None = None
    reward_model: str = "imported"
    """Name under which the step scores of a dump are kept."""
    max_tokens: int | None = None
    """A completion of this length was cut. None: from the path, else 2048."""
    first_sample: int = 0
    """Number of the first completion of each problem, so that several dumps of one model make one pool."""
    seed: int | None = None
    """Which seed of a count table; None pools all of them."""
    grader: str | None = None
    """A plugged-in grader instead of the task's own."""
    second_opinion: str | None = None
    """A plugged-in grader that is asked where the grader cannot tell."""


def read_import(path: Path, options: ImportOptions) -> Iterator[Imported]:
    """Yield the records of a file: each Problem before its Completions and StepScores, or Counts only.

    Raises:
        DataError: the file has none of the shapes, or a bad line.
        UsageError: the model or the temperature is neither in the file nor given.
    """
    if _is_count_table(path):
        return _count_table(path, options)
    columns = _columns(path)
    if "completions" in columns:
        return _dump(path, options)
    if {"n", "correct"} & columns:
        return _count_rows(path, options)
    raise missing_column(path, None, "completions", columns)


def majority_disagreements(path: Path, task: Task) -> Iterator[str]:
    """Yield a line for each stored `pred_maj@n` that replaying its rule does not reproduce.

    The rule: of the first n completions, the answer class with the most votes, the earliest of those that tie; a
    completion without an answer votes for the empty one. The classes are the task's, so that differences of the
    extraction or of the canonical form show up here.
    """
    names = sorted((name for name in _columns(path) if name.startswith("pred_maj@")), key=_num_votes)
    if not names:
        raise missing_column(path, None, "pred_maj@1", _columns(path))
    for row in read_rows(path, (*DUMP_COLUMNS, *names)):
        completions = _list(path, row, "completions", str)
        answers = [task.extract(text) or "" for text in completions]
        classes = [task.grader.answer_class(answer) if answer else "" for answer in answers]
        for name in names:
            first = classes[: _num_votes(name)]
            chosen = max(first, key=first.count, default="")  # max keeps the earliest of equals
            theirs = task.extract(str(row.values[name])) or ""
            if chosen != (task.grader.answer_class(theirs) if theirs else ""):
                ours = answers[classes.index(chosen)]
                yield f"row {row.number}, {name}: the file has {theirs!r}, the replay gives {ours!r}"


def _num_votes(name: str) -> int:
    number = name.partition("@")[2]
    return int(number) if number.isdigit() else 0


def _dump(path: Path, options: ImportOptions) -> Iterator[Imported]:
    model = _model(options, str(path))
    temperature = _temperature(options, path)
    limit = options.max_tokens or int(_in_path(_MAX_TOKENS, path) or DEFAULT_MAX_TOKENS)
    seen: set[str] = set()
    for row in read_rows(path, DUMP_COLUMNS, DUMP_OPTIONAL):
        problem = _problem(path, row)
        if problem.id in seen:
            raise DataError(f"problem {problem.id!r} occurs twice", path, row.number)
        seen.add(problem.id)
        yield problem
        series = {"model": model, "task": options.task, "temperature": temperature, "problem": problem.id}
        yield from _samples(path, row, options, series, limit)


def _problem(path: Path, row: Row) -> Problem:
    text = _cell(path, row, "problem", str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    level = row.values.get("level")
    digits = re.sub(r"\D", "", str(level))
    return Problem(
        id=str(row.values.get("unique_id") or digest),
        text=text,
        gold=_cell(path, row, "answer", str),
        level=int(digits) if digits in {"1", "2", "3", "4", "5"} else None,
        subject=None if row.values.get("subject") is None else str(row.values["subject"]),
    )


def _samples(
    path: Path, row: Row, options: ImportOptions, series: Mapping[str, Any], limit: int
) -> Iterator[Completion | StepScores]:
    texts = _list(path, row, "completions", str)
    lengths = _aligned(path, row, "completion_tokens", len(texts))
    scores = _aligned(path, row, "scores", len(texts))
    for index, (text, length, steps) in enumerate(zip(texts, lengths, scores, strict=True)):
        sample = options.first_sample + index
        num_tokens = None if length is None or length < 0 else int(length)
        yield Completion(
            **series,
            sample=sample,
            text=text,
            finish="length" if num_tokens is not None and num_tokens >= limit else "stop",
            num_prompt_tokens=None,
            num_tokens=num_tokens,
            prompt_digest="",
        )
        if steps:
            numbers = tuple(float(step) for step in (steps if isinstance(steps, Sequence) else [steps]))
            yield StepScores(**series, sample=sample, reward_model=options.reward_model, scores=numbers)


def _count_rows(path: Path, options: ImportOptions) -> Iterator[Count]:
    for row in read_rows(path, COUNT_COLUMNS, COUNT_OPTIONAL):
        given = {name: row.values[name] for name in COUNT_OPTIONAL if row.values.get(name) not in (None, "")}
        temperature = given.get("temperature")
        yield _count(
            path,
            row.number,
            Count(
                model=str(given["model"]) if "model" in given else _model(options, str(path)),
                task=str(given.get("task", options.task)),
                temperature=_temperature(options, path) if temperature is None else _number(path, row, "temperature"),
                problem=str(row.values["problem"]),
                num_samples=_integer(path, row, "n"),
                num_correct=_integer(path, row, "correct"),
            ),
        )


def _count_table(path: Path, options: ImportOptions) -> Iterator[Count]:
    table = json.loads(path.read_text(encoding="utf-8-sig"))
    for name in ("counts", "ns", "uids"):
        if name not in table:
            raise missing_column(path, None, name, table)
    counts, totals, problems = table["counts"], table["ns"], table["uids"]
    if isinstance(totals, int):
        totals = [[totals] * len(row) for row in counts]
    if not len(counts) == len(totals) == len(problems) or any(
        len(row) != len(sizes) for row, sizes in zip(counts, totals, strict=True)
    ):
        raise DataError("counts, ns and uids are of different lengths", path)
    seeds = _seeds(path, table, options)
    model = _model(options, str(table.get("dataset", path)))
    temperature = _temperature(options, path)
    for index, problem in enumerate(problems):
        yield _count(
            path,
            None,
            Count(
                model=model,
                task=options.task,
                temperature=temperature,
                problem=str(problem),
                num_samples=sum(int(totals[index][seed]) for seed in seeds),
                num_correct=sum(int(counts[index][seed]) for seed in seeds),
            ),
        )


def _seeds(path: Path, table: Mapping[str, Any], options: ImportOptions) -> list[int]:
    """Return the columns of a count table to add up."""
    width = len(table["counts"][0]) if table["counts"] else 0
    seeds = list(table.get("seeds", range(width)))
    if options.seed is None:
        return list(range(width))
    if options.seed not in seeds:
        raise UsageError(f"{path} has no seed {options.seed}: it has {', '.join(map(str, seeds))}")
    return [seeds.index(options.seed)]


def _count(path: Path, line: int | None, count: Count) -> Count:
    if not 0 <= count.num_correct <= count.num_samples:
        raise DataError(
            f"problem {count.problem!r} has {count.num_correct} correct of {count.num_samples} samples", path, line
        )
    return count


def _is_count_table(path: Path) -> bool:
    """Whether a file is one JSON object with counts, and not one object a line."""
    if file_format(path) != "json":
        return False
    with path.open(encoding="utf-8-sig") as file:
        first = next((line for line in file if line.strip()), "")
    try:
        value = json.loads(first)
    except ValueError:  # an object over several lines, or a bad line, which is reported when rows are read
        if path.stat().st_size > MAX_TABLE_BYTES:
            return False
        try:
            value = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError:
            return False
    return isinstance(value, dict) and "counts" in value


def _columns(path: Path) -> set[str]:
    """Return the names of the columns of the first row."""
    return set(next(read_rows(path, ())).values)


def _model(options: ImportOptions, place: str) -> str:
    if options.model is not None:
        return options.model
    match = _MODEL_NAME.search(place)
    if match is None:
        raise UsageError(f"{place} does not say which model made the completions: give --model NAME")
    return match.group(1)


def _temperature(options: ImportOptions, path: Path) -> float:
    found = _in_path(_TEMPERATURE, path) if options.temperature is None else options.temperature
    if found is None:
        raise UsageError(f"{path} does not say at what temperature was sampled: give --temperature T")
    return float(found)


def _in_path(pattern: re.Pattern[str], path: Path) -> str | None:
    """Return what a pattern finds in the names of a path; search-and-learn writes its settings there."""
    matches = (pattern.search(part) for part in (path.stem, *reversed(path.parts)))
    return next((match.group(1) for match in matches if match), None)


def _cell(path: Path, row: Row, name: str, kind: type[Value]) -> Value:
    value = row.values[name]
    if not isinstance(value, kind):
        raise DataError(f"column {name!r} holds {value!r:.60}: expected {kind.__name__}", path, row.number)
    return value


def _list(path: Path, row: Row, name: str, kind: type[Value]) -> list[Value]:
    values: list[Value] = _cell(path, row, name, list)
    for value in values:
        if not isinstance(value, kind):
            raise DataError(f"column {name!r} holds {value!r:.60}: expected {kind.__name__}", path, row.number)
    return values


def _aligned(path: Path, row: Row, name: str, length: int) -> list[Any]:  # Any: lengths, or lists of scores
    """Return an optional column with one entry per completion; Nones if it is not there."""
    if row.values.get(name) is None:
        return [None] * length
    values = _cell(path, row, name, list)
    if len(values) != length:
        raise DataError(f"column {name!r} has {len(values)} entries for {length} completions", path, row.number)
    return values


def _integer(path: Path, row: Row, name: str) -> int:
    number = _number(path, row, name)
    if number != int(number):
        raise DataError(f"column {name!r} holds {row.values[name]!r}: expected a whole number", path, row.number)
    return int(number)


def _number(path: Path, row: Row, name: str) -> float:
    try:
        return float(row.values[name])
    except (TypeError, ValueError):
        raise DataError(f"column {name!r} holds {row.values[name]!r}: expected a number", path, row.number) from None
