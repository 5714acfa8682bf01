"""What a stage says of its result when it is published: from which models, data and config it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from timetrial.catalog import open_catalog
from timetrial.progress import ProgressFactory
from timetrial.registries import check_not_shipped
from timetrial_distillation.evaluation import Evaluation
from timetrial_distillation.origin import OriginModel
from timetrial_registry.records import Metric, Parent, Provenance, Role, Version
from timetrial_registry.reference import check_name
from timetrial_registry.registry import Registry

Json = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class Ancestry:
    """Everything a stage's result was made from."""

    stage: str
    teacher: OriginModel | None
    start: OriginModel | None
    """What the stage went on with; None if it made a student of the teacher."""
    data: Sequence[str]
    data_digest: str
    config: Json
    config_digest: str
    seed: int
    tokens: int
    """Inputs seen, padding left out."""
    others: Sequence[Parent] = ()
    """Further parents, such as the models that labelled the data."""

    def provenance(self) -> Provenance:
        """Return the same in the registry's words."""
        parents = [
            Parent(role="data", ref=" + ".join(self.data), digest=self.data_digest),
            Parent(role="config", ref=f"config of {self.stage}", digest=self.config_digest),
        ]
        if self.teacher is not None:
            parents.append(_parent("teacher", self.teacher))
        if self.start is not None:
            parents.append(_parent("init" if self.start.stage is None else "stage_parent", self.start))
        elif self.teacher is not None:
            parents.append(_parent("init", self.teacher))
        return Provenance(
            stage=self.stage,
            parents=(*parents, *self.others),
            tokens=self.tokens,
            seed=self.seed,
            versions={"torch": torch.__version__.partition("+")[0]},
            recipe=self.config,
        )


def check_publishable(name: str) -> None:
    """Refuse a name before anything is trained.

    Raises:
        RegistryError: no model can have that name.
        UsageError: a plugin ships a model of that name.
    """
    check_name(name)
    check_not_shipped(name, open_catalog())


def publish(
    name: str, folder: Path, ancestry: Ancestry, evaluation: Evaluation | None, progress: ProgressFactory
) -> Version:
    """Publish a stage's result into the user's registry with its lineage and figures.

    Raises:
        CheckpointError: the folder is no checkpoint.
        RegistryError: the registry cannot be written.
    """
    registry = Registry()
    version = registry.publish(name, folder, ancestry.provenance(), progress=progress)
    if evaluation is not None:
        registry.attach(version, _metrics(evaluation))
    return version


def _parent(role: Role, model: OriginModel) -> Parent:
    if model.version is not None:
        return Parent(role=role, ref=model.version.ref, digest=model.version.digest)
    return Parent(role=role, ref=model.ref, digest=model.digest)


def _metrics(found: Evaluation) -> list[Metric]:
    values = {"acc@1": (found.accuracy, 0.0)}
    if found.coverage is not None:
        values[f"pass@{found.samples}"] = (found.coverage, found.temperature)
    return [
        Metric(dataset=found.task, metric=name, value=value, n=found.num_problems, params={"temperature": temperature})
        for name, (value, temperature) in values.items()
    ]
