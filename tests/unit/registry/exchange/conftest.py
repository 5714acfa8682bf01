"""A registry with a teacher, a student made from it and the student's figures, as an export finds them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from timetrial_registry import Registry
from timetrial_registry.records import Metric, Parent, Provenance, Version

from ..conftest import write_checkpoint

LLAMA_TEXT = "LLAMA 3.2 COMMUNITY LICENSE\nAGREEMENT\n\nLlama 3.2 Version Release Date: never, this is a test.\n"
MakeCheckpoint = Callable[..., Path]


def figures(*ks: int, **params: object) -> list[Metric]:
    """Figures of one run: coverage and majority on math-500 at each k."""
    common = {"task": "math-500", "temperature": 0.6, "num_samples": max(ks), "hardware": "H200 (abc)", **params}
    rules: list[tuple[str, dict[str, object]]] = [("coverage", {}), ("accuracy", {"aggregator": "majority"})]
    return [
        Metric(
            dataset="math-500",
            metric=metric,
            value=0.25 + k / 100,
            stderr=0.0212345,
            n=500,
            revision="v1",
            params={**common, **more, "k": k, "seconds": 1.5 * k, "low": 0.2, "high": 0.4},
            run_digest="a" * 64,
        )
        for metric, more in rules
        for k in ks
    ]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry folder that tests get copies of: publishing waits for the disk."""
    place = tmp_path_factory.mktemp("library")
    registry = Registry(place / "registry")
    init = Parent(role="init", ref="meta-llama/Llama-3.2-1B", revision="c0ffee")
    registry.publish("teacher", write_checkpoint(place / "teacher"), Provenance(stage="sft", parents=(init,)))
    provenance = Provenance(
        stage="mohawk-3",
        parents=(
            Parent(role="teacher", ref="teacher"),
            Parent(role="data", ref="nvidia/OpenMathInstruct-2", revision="beef"),
        ),
        tokens=3_000_000,
        seed=7,
        versions={"torch": "2.13"},
        licence="apache-2.0",
    )
    card = "---\nlanguage: en\n---\n# Student\n\nTrained by hand.\n"
    folder = write_checkpoint(place / "student", seed=1, README__md=card)
    registry.attach(registry.publish("student", folder, provenance, description="A student."), figures(1, 2, 4))
    registry.set_alias("student", "champion", 1)
    registry.publish("free", write_checkpoint(place / "free", seed=2), Provenance(licence="MIT"))
    return registry.path


@pytest.fixture
def registry(library: Path, tmp_path: Path) -> Registry:
    return Registry(shutil.copytree(library, tmp_path / "registry"))


@pytest.fixture
def teacher(registry: Registry) -> Version:
    return registry.get("teacher")


@pytest.fixture
def student(registry: Registry) -> Version:
    return registry.get("student")


@pytest.fixture
def free(registry: Registry) -> Version:
    """A version that no Llama licence applies to."""
    return registry.get("free")
