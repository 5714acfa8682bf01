"""Registered figures as curves to rank: the same leaderboard as that of runs, without the runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from timetrial.curve_figures import curves_of
from timetrial.error import UsageError
from timetrial.report.leaderboard import RunCurves
from timetrial_registry.joined import JoinedRegistry
from timetrial_registry.records import Version


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredCurve:
    """One curve that figures of a version make up."""

    curves: RunCurves
    """It alone; its run is named by the first digits of the run's digest, its machine by the hardware."""
    task: str
    task_version: str | None
    grader: str | None


def registered_curves(registry: JoinedRegistry, refs: Sequence[str]) -> list[RegisteredCurve]:
    """Return the curves of the figures of all versions, or of those that references name.

    A name alone means all versions of the model.

    Raises:
        UnknownVersionError: a reference names nothing.
        UsageError: none of them has figures.
    """
    versions = registry.versions() if not refs else [version for ref in refs for version in _meant(registry, ref)]
    found = [item for version in dict.fromkeys(versions) for item in _of_version(registry, version)]
    if not found:
        what = ", ".join(refs) or "any version"
        raise UsageError(
            f"no figures are attached to {what}: `timetrial run --register-metrics` and `timetrial report "
            "--register-metrics RUN` attach those of a run"
        )
    return found


def disagreements(found: Iterable[RegisteredCurve]) -> Iterator[str]:
    """Say, a line each, which tasks' curves were not measured alike."""
    curves = list(found)
    for task in dict.fromkeys(curve.task for curve in curves):
        alike = [curve for curve in curves if curve.task == task]
        graders = list(dict.fromkeys(curve.grader for curve in alike if curve.grader))
        versions = list(dict.fromkeys(curve.task_version for curve in alike if curve.task_version))
        if len(graders) > 1:
            yield f"task {task} was graded by {' and by '.join(graders)}: differences may be the graders'"
        if len(versions) > 1:
            yield f"task {task} has changed between the runs (versions {', '.join(versions)}): they do not compare"


def _meant(registry: JoinedRegistry, ref: str) -> Sequence[Version]:
    return registry.versions(ref) if ref in registry.names() else (registry.get(ref),)


def _of_version(registry: JoinedRegistry, version: Version) -> Iterator[RegisteredCurve]:
    for curve, figure in curves_of((metric for _, metric in registry.metrics(version)), version.ref):
        hardware = figure.params.get("hardware")
        run = (figure.run_digest or "by hand")[:12]
        yield RegisteredCurve(
            curves=RunCurves(run=run, curves=(curve,), machines=() if hardware is None else (hardware,)),
            task=curve.task,
            task_version=figure.revision,
            grader=figure.params.get("grader"),
        )
