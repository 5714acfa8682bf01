"""Labelled solutions from where a user says they are: folders of labels, files, or a data set on the Hub."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from timetrial.error import DataError, UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial_distillation.data.adapters import AUTO, UnfitError
from timetrial_distillation.data.files import open_files
from timetrial_distillation.data.hub import is_hub_id, open_dataset
from timetrial_distillation.data.records import Json, Record, RecordSource
from timetrial_distillation.rewards.folder import LABELS, check_finished
from timetrial_distillation.rewards.labels import LabelledSolution
from timetrial_distillation.rewards.layouts import Layout, find_layout
from timetrial_registry.records import Parent


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelData:
    """Labelled solutions, and where they came from."""

    names: tuple[str, ...]
    """As the user named the sources."""
    digest: str
    """Of the sources and of which solutions were taken."""
    solutions: tuple[LabelledSolution, ...]
    left_out: Mapping[str, int]
    """Records that are no labelled solution, by reason."""
    requests: tuple[Json, ...]
    """What the folders of labels were asked for: model, problems, rollouts."""

    def labellers(self) -> tuple[Parent, ...]:
        """Return the models that made the labels, as parents of what learns from them."""
        found = []
        for request in self.requests:
            model = request["model"]
            version = model.get("registry")
            ref = model["ref"] if version is None else f"{version['name']}@{version['version']}"
            digest = model["checkpoint_sha256"] if version is None else version["digest"]
            found.append(Parent(role="teacher", ref=ref, digest=digest))
        return tuple(dict.fromkeys(found))


def open_labels(
    names: Sequence[str], *, layout: str = AUTO, limit: int | None = None, progress: ProgressFactory = silent
) -> LabelData:
    """Read labelled solutions; of several sources one after another, and the first `limit` solutions of them all.

    A name is a folder that `timetrial distill label-steps` made, a Parquet or JSON file, or a Hub id, which may be
    followed by :SPLIT.

    Raises:
        UsageError: no layout fits a source, or nothing is left.
        DataError: a source cannot be read, or a folder of labels is not finished.
    """
    requests = [check_finished(Path(name))["request"] for name in names if Path(name).is_dir()]
    sources = [_open(name, progress) for name in names]
    left_out: Counter[str] = Counter()
    solutions: list[LabelledSolution] = []
    with progress("read labels", limit or 0) as advance:
        for source in sources:
            for solution in _solutions(source, layout, left_out):
                if limit is not None and len(solutions) == limit:
                    break
                solutions.append(solution)
                advance(1)
    if not solutions:
        found = ", ".join(f"{number:,} {reason}" for reason, number in left_out.items()) or "they are empty"
        raise UsageError(f"no labelled solution in {', '.join(names)} ({found})")
    described = json.dumps([[source.description for source in sources], layout, limit], sort_keys=True)
    return LabelData(
        names=tuple(names),
        digest=hashlib.sha256(described.encode()).hexdigest(),
        solutions=tuple(solutions),
        left_out=dict(left_out),
        requests=tuple(requests),
    )


def by_problem(solutions: Iterable[LabelledSolution]) -> dict[str, list[LabelledSolution]]:
    """Group solutions by their problem, in order of appearance."""
    groups: dict[str, list[LabelledSolution]] = {}
    for solution in solutions:
        groups.setdefault(solution.problem_id, []).append(solution)
    return groups


def _open(name: str, progress: ProgressFactory) -> RecordSource:
    if Path(name).is_dir():
        return open_files([str(Path(name) / LABELS)], progress)
    repository, _, split = name.partition(":")
    if is_hub_id(repository):
        return open_dataset(repository, None, split or "train", None)
    return open_files([name], progress)


def _solutions(source: RecordSource, name: str, left_out: Counter[str]) -> Iterator[LabelledSolution]:
    layout = find_layout(name, source.columns())
    optional = [column for column in ("truth",) if column in source.columns()]
    for record in source.records(0, (*layout.columns, *optional)):
        try:
            yield _read(layout, record)
        except UnfitError as error:
            left_out[error.kind] += 1


def _read(layout: Layout, record: Record) -> LabelledSolution:
    try:
        return layout.read(record.values)
    except UnfitError:
        raise
    except (TypeError, ValueError) as cause:
        if layout.name == "rollouts":
            raise DataError(f"no labelled solution: {cause}", record.file, record.number) from cause
        raise UnfitError(f"malformed: {cause}") from cause
