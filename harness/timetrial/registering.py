"""Attach the figures of a finished run to the versions of the registry that it measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timetrial.catalog import Catalog
from timetrial.curve_figures import figures_of
from timetrial.error import UsageError
from timetrial.graded_by import graders_label, recorded_graders
from timetrial.loading import REGISTRY_FACT
from timetrial.plan import CONFIG_FILE
from timetrial.record import Curve, from_json
from timetrial.registries import may_be_registered, registered_version
from timetrial.report.data import machine_label
from timetrial.runner import Run
from timetrial.stages.derive import CURVES_FILE, current_timings
from timetrial.store import FILES
from timetrial_registry.digest import file_digest
from timetrial_registry.error import UnknownVersionError
from timetrial_registry.joined import JoinedRegistry
from timetrial_registry.records import Metric, Version

Facts = Mapping[str, Any]  # Any: JSON values


@dataclass(frozen=True, kw_only=True, slots=True)
class Attached:
    """What became of the figures of one model of a run."""

    model: str
    """As the run calls it."""
    version: str | None
    """The version they were attached to; None: to nothing."""
    num_new: int = 0
    num_figures: int = 0
    """All of the model, those included that were attached before."""
    reason: str | None = None
    """Why nothing was attached."""


def check_registrable(models: Iterable[str], catalog: Catalog, registry: JoinedRegistry) -> None:
    """Refuse to measure for the registry what is not in it, before anything is sampled.

    Raises:
        UsageError: no model is a version of the user's own registry.
    """
    named = list(models)
    versions = [registered_version(ref, catalog, registry) for ref in named if may_be_registered(ref, catalog)]
    if not any(not registry.is_shipped(version) for version in versions):
        raise UsageError(
            f"--register-metrics needs a model of your registry, and {', '.join(named)} is none: publish it first "
            "(`timetrial registry publish NAME FOLDER`), then run NAME@VERSION"
        )


def register_metrics(run: Run, registry: JoinedRegistry) -> tuple[Attached, ...]:
    """Attach every point of a run's curves to the version of its model; what was attached before stays as it is.

    Raises:
        UsageError: the run has no curves.
        RegistryError: the registry cannot be written.
    """
    config = run.folder.read_json(CONFIG_FILE) or {}
    figures: dict[str, list[Metric]] = {}
    digest, hardware = run_digest(run), _hardware(run)
    for curve in _curves(run):
        facts = _setting(config, curve) | ({"hardware": hardware} if curve.seconds else {})
        version = config.get("tasks", {}).get(curve.task, {}).get("version")
        figures.setdefault(curve.model, []).extend(
            figures_of(curve, task_version=version, run_digest=digest, facts=facts)
        )
    if not figures:
        raise UsageError(f"{run.path} has no curves whose figures could be registered: it graded no samples")
    models = config.get("models", {})
    return tuple(attach(registry, model, models.get(model, {}), found) for model, found in figures.items())


def attach(registry: JoinedRegistry, model: str, facts: Facts, figures: Sequence[Metric]) -> Attached:
    """Attach figures to the version that a run recorded among the facts of a model, or say why they cannot be.

    Raises:
        RegistryError: the registry cannot be written.
    """
    version, reason = _own_version(facts.get(REGISTRY_FACT), registry)
    if version is None:
        return Attached(model=model, version=None, num_figures=len(figures), reason=reason)
    num_new = registry.own.attach(version, figures)
    return Attached(model=model, version=version.ref, num_new=num_new, num_figures=len(figures))


def run_digest(run: Run) -> str:
    """Return the sha256 that stands for what a run measured and what was made of it, hexadecimal.

    It is that of a manifest: a line "<sha256>  <name>" for each file of records and curves.json, and one for the models
    and tasks in config.json. Where the run lies and what its report shows first does not enter.
    """
    config = run.folder.read_json(CONFIG_FILE) or {}
    what = json.dumps({name: config.get(name) for name in ("models", "tasks")}, sort_keys=True)
    lines = [f"{hashlib.sha256(what.encode()).hexdigest()}  {CONFIG_FILE}\n"]
    for name in sorted({*FILES.values(), CURVES_FILE}):
        path = run.path / name
        if path.is_file():
            lines.append(f"{file_digest(path)}  {name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _own_version(recorded: Facts | None, registry: JoinedRegistry) -> tuple[Version | None, str | None]:
    """Return the version that a run recorded, or why nothing can be attached to it."""
    if recorded is None:
        return None, "it was not loaded from the registry"
    ref = f"{recorded['name']}@{recorded['version']}"
    try:
        version = registry.own.get(ref)
    except UnknownVersionError as cause:
        if recorded["name"] in registry.shipped.names():
            return None, f"{ref} is shipped with a package, and nothing can be attached to it"
        return None, f"{ref} is not in this registry: {cause}"
    if version.digest != recorded["digest"]:
        return None, f"{ref} of this registry is another version than the one that was measured"
    return version, None


def _curves(run: Run) -> list[Curve]:
    stored = run.folder.read_json(CURVES_FILE) or {"curves": []}
    return [from_json(Curve, curve) for curve in stored["curves"]]


def _hardware(run: Run) -> str | None:
    keys = {row.environment for row in current_timings(run.folder, run.config.grid)}
    environment = run.folder.read_json("environment.json") or {}
    return " and ".join(machine_label(key, environment.get(key)) for key in sorted(keys)) or None


def _setting(config: Facts, curve: Curve) -> dict[str, Any]:  # Any: JSON values
    """Return what else than its record a curve depends on, where it is not what it normally is."""
    asked = config.get("config", {})
    graders = recorded_graders(config.get("tasks", {}).get(curve.task, {}))
    return {
        "grader": graders_label(graders) if graders else None,
        "top_p": asked.get("top_p") if asked.get("top_p") != 1 else None,
        "top_k": asked.get("top_k") if asked.get("top_k") != -1 else None,
        "max_tokens": asked.get("max_tokens"),
    }
