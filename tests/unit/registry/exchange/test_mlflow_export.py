"""Versions in a real MLflow registry: a local one with SQLite. Skipped where MLflow is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from timetrial_registry import Registry
from timetrial_registry.error import RegistryError
from timetrial_registry.export import export_version
from timetrial_registry.mlflow_export import register_with_mlflow
from timetrial_registry.records import Version


@pytest.fixture
def mlflow() -> Any:
    return pytest.importorskip("mlflow.tracking", reason="MLflow is not installed")


def test_without_mlflow_it_says_what_to_install(free: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timetrial_registry.mlflow_export.find_spec", lambda name: None)
    with pytest.raises(RegistryError, match=r"pip install 'timetrial\[mlflow\]'"):
        register_with_mlflow(free, tmp_path, "sqlite:///never.db")


@pytest.mark.slow  # a fresh MLflow database runs fifty migrations
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_version_is_registered_once_with_its_source_tags_and_aliases(
    mlflow: Any, registry: Registry, student: Version, teacher: Version, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder = export_version(registry, student, tmp_path / "out").folder
    first = register_with_mlflow(student, folder, uri)
    assert (first.name, first.version, first.is_new, first.aliases) == ("student", "1", True, ("champion",))
    again = register_with_mlflow(student, folder, uri)
    assert (again.version, again.is_new) == ("1", False)

    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    found = client.get_model_version_by_alias("student", "champion")
    assert found.source == folder.resolve().as_uri()
    assert found.tags == {
        "digest": student.digest,
        "tensor_digest": student.tensor_digest,
        "version": "student@1",
        "stage": "mohawk-3",
        "parent": "teacher teacher@1, data nvidia/OpenMathInstruct-2",
        "licence": "apache-2.0",
    }
    register_with_mlflow(teacher, folder, uri)
    assert [model.name for model in client.search_registered_models()] == ["student", "teacher"]

    with pytest.raises(RegistryError, match="no MLflow registry can be opened|does not take"):
        register_with_mlflow(student, folder, "nonsense://nowhere")
