"""Versions of registries where a model is named: found, recorded, told apart from names, folders and Hub ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import timetrial
from timetrial.catalog import Catalog, open_catalog
from timetrial.error import CheckpointError, UnknownNameError, UsageError
from timetrial.loading import find_configuration, known_checkpoint, locate_model
from timetrial.plan import check_continues, make_plan
from timetrial.registries import check_not_shipped, open_registries
from timetrial.store import RunFolder
from timetrial.testing import EchoModel, FakeDistribution, FakePlugin, FakeTask
from timetrial_registry import Provenance, Registry, RegistryError, export_version

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(name: str, value: float = 0.0) -> Path:
        folder = tmp_path / "sources" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"model_type": "echo", "value": value}))
        save_file({"weight": np.full(2, value, np.float32)}, folder / "model.safetensors")
        return folder

    return make


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The user's registry."""
    monkeypatch.setenv("TIMETRIAL_REGISTRY", str(tmp_path / "registry"))
    return Registry()


@pytest.fixture
def shipped(tmp_path: Path, make: Make) -> Path:
    """A folder as a plugin ships it."""
    other = Registry(tmp_path / "of-the-author")
    other.publish("echo-1b", make("shipped", 9.0), Provenance(licence="MIT"), description="Ships.")
    return export_version(other, "echo-1b", tmp_path / "shipped").folder


@pytest.fixture
def catalog(shipped: Path) -> Catalog:
    @timetrial.hookimpl
    def timetrial_models() -> Any:
        return [
            timetrial.ModelSpec(
                family="echo",
                load=lambda folder, options: EchoModel(),
                doc="",
                recognises=lambda config: config.get("model_type") == "echo",
                build_random=lambda config, options: EchoModel(),
            )
        ]

    @timetrial.hookimpl
    def timetrial_tasks() -> Any:
        return [timetrial.TaskSpec(name="repeat", load=lambda path: FakeTask(), doc="")]

    @timetrial.hookimpl
    def timetrial_checkpoints() -> Any:
        return [
            timetrial.CheckpointSpec(name="echo-1b", location=str(shipped), doc="", family="echo", temperature=0.7),
            timetrial.CheckpointSpec(name="echo-7b", location="org/echo-7b", doc="", family="echo"),
        ]

    plugin = SimpleNamespace(
        timetrial_models=timetrial_models, timetrial_tasks=timetrial_tasks,
        timetrial_checkpoints=timetrial_checkpoints, __name__="mine",
    )  # fmt: skip
    import timetrial_plugins.aggregators.plugin as aggregators

    return open_catalog(
        [FakePlugin("mine", plugin, FakeDistribution("shelf", "1")), FakePlugin("aggregators", aggregators)]
    )


@pytest.fixture
def student(registry: Registry, make: Make) -> Any:
    version = registry.publish("student", make("student", 1.0), Provenance(licence="MIT"), description="Learns.")
    registry.set_alias("student", "champion", 1)
    return version


@pytest.mark.parametrize(
    "spell",
    [
        "student", "student@1", "student:1", "student@champion", "student@latest", "models:/student/1",
        "models:/student@champion", "sha256:{digest}",
    ],
)  # fmt: skip
def test_a_version_is_located_by_every_spelling(catalog: Catalog, student: Any, spell: str) -> None:
    ref = spell.format(digest=student.digest[:16])
    located = locate_model(ref, catalog)
    assert (located.ref, located.version, located.temperature) == (ref, located.version, None)
    assert located.version is not None and located.version.ref == "student@1"
    assert json.loads((located.folder / "config.json").read_text())["value"] == 1.0


def test_a_run_records_name_number_and_digest_beside_the_digest_of_the_files(catalog: Catalog, student: Any) -> None:
    facts = locate_model("student@champion", catalog).facts()
    assert facts["registry"] == {"name": "student", "version": 1, "digest": student.digest}
    assert len(facts["checkpoint_sha256"]) == 64 and facts["family"] == "echo"


def test_a_shipped_checkpoint_is_the_same_by_its_name_its_folder_and_its_version(
    catalog: Catalog, shipped: Path
) -> None:
    located = [locate_model(ref, catalog) for ref in ("echo-1b", str(shipped), "echo-1b@1")]
    assert {model.folder for model in located} == {shipped}
    assert {model.temperature for model in located} == {0.7}
    assert {model.facts()["registry"]["name"] for model in located} == {"echo-1b"}


def test_a_folder_that_is_nobodys_version_records_none(catalog: Catalog, make: Make) -> None:
    assert "registry" not in locate_model(str(make("plain")), catalog).facts()


def test_names_folders_and_shapes_work_though_the_registry_is_broken(
    catalog: Catalog, registry: Registry, make: Make
) -> None:
    registry.path.mkdir()
    (registry.path / "registry.db").write_text("this is no database")
    assert locate_model("echo-1b", catalog).folder and locate_model(str(make("plain")), catalog).folder
    with pytest.raises(RegistryError):
        locate_model("student@1", catalog)


@pytest.mark.parametrize(
    ("ref", "error", "message"),
    [
        ("studnt@champion", UnknownNameError, "unknown model 'studnt': did you mean 'student'"),
        ("echo-1", UnknownNameError, "did you mean 'echo-1b'"),
        ("echo-7b@3", UnknownNameError, "unknown model 'echo-7b'"),
        ("completely different", UnknownNameError, "known: echo-1b, echo-7b, student"),
        ("student@challenger", CheckpointError, "has no alias 'challenger'"),
        ("student@champoin", CheckpointError, "did you mean 'champion'"),
        ("student@7", CheckpointError, "has no version 7"),
        ("sha256:000000000000", CheckpointError, "no version whose digest begins"),
    ],
)
def test_what_is_not_there_is_told_the_closest_of_all_there_is(
    catalog: Catalog, student: Any, ref: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        locate_model(ref, catalog)


def test_a_folder_wins_over_a_version_of_the_same_spelling(
    catalog: Catalog, student: Any, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("somewhere", 3.0).rename(tmp_path / "student@1")
    monkeypatch.chdir(tmp_path)
    assert locate_model("student@1", catalog).version is None


def test_a_version_is_described_and_timed_from_its_config_alone(catalog: Catalog, student: Any) -> None:
    known = known_checkpoint("student@champion", catalog)
    assert known is not None
    assert (known.location, known.doc, known.family, known.licence) == ("student@1", "Learns.", "echo", "MIT")
    assert find_configuration("student", catalog).config == {"model_type": "echo", "value": 1.0}
    assert known_checkpoint("echo-1b@1", catalog) == known_checkpoint("echo-1b", catalog)


def test_a_name_that_a_plugin_knows_is_not_published(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="'echo-7b' is a checkpoint that plugin 'mine' knows"):
        check_not_shipped("echo-7b", catalog)
    check_not_shipped("student", catalog)


def test_one_name_in_both_registries_is_refused_where_a_version_is_meant(
    catalog: Catalog, registry: Registry, make: Make, shipped: Path
) -> None:
    registry.publish("echo-1b", make("own", 4.0))
    assert locate_model("echo-1b", catalog).folder == shipped, "a plugin's name means what it always did"
    with pytest.raises(RegistryError, match="both a model of your registry and one that is shipped"):
        locate_model("echo-1b@1", catalog)
    assert open_registries(catalog).names() == ("echo-1b",)


def test_a_run_goes_on_while_the_files_are_the_same_whatever_the_version_is_called(
    catalog: Catalog, registry: Registry, student: Any, make: Make, tmp_path: Path
) -> None:
    config = timetrial.RunConfig(models=("student@champion",), tasks=("repeat",), samples=1, temperatures=(1.0,))
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        folder.write_json("config.json", make_plan(config, catalog).to_json())
    (folder.path / "samples.jsonl").write_text("")

    same = registry.publish("student", registry.folder(student), Provenance(licence="MIT", seed=1))
    registry.set_alias("student", "champion", same.version)
    assert same.version == 2
    check_continues(folder, make_plan(config, catalog))

    other = registry.publish("student", make("other", 2.0))
    registry.set_alias("student", "champion", other.version)
    with pytest.raises(timetrial.ConfigMismatchError, match="model student@champion, checkpoint_sha256"):
        check_continues(folder, make_plan(config, catalog))
