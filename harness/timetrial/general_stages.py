"""Reasoning and general benchmarks of registered checkpoints, stage by stage, and whether they move together.

This is the data of the paper's Figure 11, of whatever checkpoints a registry holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timetrial.error import UnknownNameError, UsageError
from timetrial.general_figures import LM_EVAL, Score, general_label, general_scores, groups, reasoning_scores
from timetrial.general_runs import is_run, run_figures
from timetrial.statistics.correlation import Correlation, correlate
from timetrial_registry.joined import JoinedRegistry
from timetrial_registry.records import Metric, Version

MAX_GENERAL = 8
"""Of more figures than so many only those of groups are shown, unless they are asked for."""
_LEADS_TO = ("stage_parent", "init")
"""Roles of the version that a stage went on with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A version of the registry with its figures."""

    ref: str
    stage: str | None
    """None: it is no stage's result, for example a teacher."""
    before: str | None
    """The version that its stage went on with, or made a student of."""
    reasoning: Mapping[str, Score]
    """acc@1 with greedy answers, by task."""
    general: Mapping[str, Score]
    """lm-eval's figures, by task, metric and setting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A reasoning task and a general benchmark, over all checkpoints that have figures of both."""

    reasoning: str
    general: str
    refs: tuple[str, ...]
    correlation: Correlation


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralReport:
    """Everything the report shows."""

    checkpoints: Mapping[str, Checkpoint]
    """By reference."""
    chains: tuple[tuple[str, ...], ...]
    """References from the first model to a last stage; chains that fork share their beginning."""
    reasoning: tuple[str, ...]
    """Tasks, first those that most checkpoints have figures of."""
    general: tuple[str, ...]
    """Benchmarks, in such an order too."""
    pairs: tuple[Pair, ...]


def general_report(
    registry: JoinedRegistry, places: Sequence[str] = (), benchmarks: Sequence[str] = ()
) -> GeneralReport:
    """Gather the figures of all versions, or of those that are named and what they were made from.

    Args:
        registry: the user's, and what packages ship.
        places: names of models, for all their versions, or references; and run folders, whose figures count as well.
        benchmarks: lm-eval's names of the tasks to show; empty: all, or the groups if they are many.

    Raises:
        UnknownVersionError: a reference names nothing.
        UnknownNameError: no figure is of a benchmark that is named.
        RunError: a run folder has no such figures.
        UsageError: no version has figures of both kinds.
    """
    runs = [run_figures(Path(place)) for place in places if is_run(place)]
    named = _meant(registry, [place for place in places if not is_run(place)])
    versions = _with_ancestors(registry, named)
    metrics = {
        version.ref: [metric for _, metric in registry.metrics(version)]
        + [metric for run in runs for metric in run.get(version.digest, ())]
        for version in versions
    }
    shown = _shown((metric for of_version in metrics.values() for metric in of_version), benchmarks)
    checkpoints = dict(_checkpoints(versions, metrics, shown))
    if not any(checkpoint.general and checkpoint.reasoning for checkpoint in checkpoints.values()):
        raise UsageError(
            "no version has figures of both kinds: `timetrial run --temperature 0 --register-metrics` attaches acc@1 "
            "of a reasoning task, and `timetrial general --register-metrics` those of general benchmarks"
        )
    return _report(checkpoints)


def _checkpoints(
    versions: Sequence[Version], metrics: Mapping[str, Sequence[Metric]], shown: Container[str]
) -> Iterator[tuple[str, Checkpoint]]:
    by_digest = {version.digest: version.ref for version in versions}
    for version in versions:
        general = {label: score for label, score in general_scores(metrics[version.ref]).items() if label in shown}
        reasoning = reasoning_scores(metrics[version.ref])
        if general or reasoning:
            yield (
                version.ref,
                Checkpoint(
                    ref=version.ref,
                    stage=version.stage,
                    before=_before(version, by_digest),
                    reasoning=reasoning,
                    general=general,
                ),
            )


def _report(checkpoints: Mapping[str, Checkpoint]) -> GeneralReport:
    reasoning = _commonest_first(item.reasoning for item in checkpoints.values())
    general = _commonest_first(item.general for item in checkpoints.values())
    return GeneralReport(
        checkpoints=checkpoints,
        chains=tuple(_chains(checkpoints)),
        reasoning=reasoning,
        general=general,
        pairs=tuple(_pair(checkpoints, task, label) for label in general for task in reasoning),
    )


def _commonest_first(names: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Return the names that most checkpoints have first, and those that as many have by the alphabet."""
    counts = Counter(name for of_one in names for name in of_one)
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))


def _pair(checkpoints: Mapping[str, Checkpoint], task: str, label: str) -> Pair:
    both = [item for item in checkpoints.values() if task in item.reasoning and label in item.general]
    return Pair(
        reasoning=task,
        general=label,
        refs=tuple(item.ref for item in both),
        correlation=correlate(
            np.array([item.general[label].value for item in both]),
            np.array([item.reasoning[task].value for item in both]),
        ),
    )


def _chains(checkpoints: Mapping[str, Checkpoint]) -> Iterable[tuple[str, ...]]:
    """Yield each way from a first model to a stage that no other went on with."""
    continued = {item.before for item in checkpoints.values()}
    for last in checkpoints.values():
        if last.stage is None or last.ref in continued:
            continue
        chain = [last.ref]
        while (before := checkpoints[chain[0]].before) is not None and before in checkpoints:
            chain.insert(0, before)
        if len(chain) > 1:
            yield tuple(chain)


def _before(version: Version, by_digest: Mapping[str, str]) -> str | None:
    parents = version.manifest.provenance.parents
    for role in _LEADS_TO:
        for parent in parents:
            if parent.role == role and parent.digest is not None and parent.digest in by_digest:
                return by_digest[parent.digest]
    return None


def _with_ancestors(registry: JoinedRegistry, named: Sequence[Version]) -> list[Version]:
    """Return the versions, and before each of them what they were made from, if a registry holds it."""
    known = {version.digest: version for version in reversed(registry.versions())}  # the user's own come first
    found: dict[str, Version] = {}

    def add(version: Version) -> None:
        if version.digest in found:
            return
        for parent in version.manifest.provenance.parents:
            if parent.role in (*_LEADS_TO, "teacher") and parent.digest in known:
                add(known[parent.digest])
        found[version.digest] = version

    for version in named:
        add(version)
    return list(found.values())


def _meant(registry: JoinedRegistry, refs: Sequence[str]) -> list[Version]:
    if not refs:
        return list(registry.versions())
    names = registry.names()
    return [version for ref in refs for version in (registry.versions(ref) if ref in names else [registry.get(ref)])]


def _shown(metrics: Iterable[Metric], benchmarks: Sequence[str]) -> set[str]:
    """Return the labels of the general figures to show."""
    figures = [metric for metric in metrics if LM_EVAL in metric.params]
    known = {metric.dataset for metric in figures}
    for name in benchmarks:
        if name not in known:
            raise UnknownNameError("benchmark", name, known, "It has to have figures attached.")
    if benchmarks:
        return {general_label(metric) for metric in figures if metric.dataset in benchmarks}
    labels = {general_label(metric) for metric in figures}
    return groups(figures) or labels if len(labels) > MAX_GENERAL else labels
