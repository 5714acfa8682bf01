"""What a trained reward model is worth on solutions it has not seen: beside its log, and in the registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from timetrial_distillation.output import write_json
from timetrial_distillation.rewards.evaluation import RewardEvaluation
from timetrial_registry.records import Metric
from timetrial_registry.registry import Registry

QUALITY_NAME = "quality.json"


def keep_quality(found: RewardEvaluation, folder: Path, published: str | None) -> None:
    """Write it to `folder`, and attach its figures to the version that was published, if one was.

    Raises:
        RegistryError: the registry cannot be written.
    """
    write_json(folder / QUALITY_NAME, found.to_json())
    if published is not None:
        registry = Registry()
        registry.attach(registry.get(published), _metrics(found))


def _metrics(found: RewardEvaluation) -> Iterator[Metric]:
    for kind, quality in found.qualities.items():
        values = {
            "step-auc": quality.step_auc,
            "last-auc": quality.last_auc,
            "ece": quality.ece,
            "brier": quality.brier,
        }
        if quality.first_errors is not None:
            values["first-error-f1"] = quality.first_errors.f1
        for name, value in values.items():
            if value is not None:
                yield Metric(
                    dataset=" + ".join(found.data),
                    metric=name,
                    value=value,
                    n=quality.num_problems,
                    params={"labels": kind},
                    run_digest=found.data_digest,
                )
