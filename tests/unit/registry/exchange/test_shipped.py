"""Shipped folders are asked like a registry; joined with the user's own, no name means two things."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from timetrial_registry import Registry
from timetrial_registry.error import CheckpointError, RegistryError, UnknownVersionError
from timetrial_registry.export import export_version
from timetrial_registry.importing import import_checkpoint
from timetrial_registry.joined import JoinedRegistry
from timetrial_registry.records import Version
from timetrial_registry.shipped import ShippedRegistry

from .conftest import MakeCheckpoint


@pytest.fixture
def folders(registry: Registry, student: Version, teacher: Version, tmp_path: Path) -> list[Path]:
    """The student and its teacher as a package ships them, and a folder without a lineage.json."""
    plain = tmp_path / "plain"
    plain.mkdir()
    names = ("student", "teacher")
    return [*(export_version(registry, name, tmp_path / f"shipped-{name}").folder for name in names), plain]


@pytest.fixture
def shipped(folders: list[Path]) -> ShippedRegistry:
    return ShippedRegistry(folders)


@pytest.fixture
def joined(shipped: ShippedRegistry, make_checkpoint: MakeCheckpoint, tmp_path: Path) -> JoinedRegistry:
    own = Registry(tmp_path / "own")
    own.publish("mine", make_checkpoint("mine", seed=5))
    return JoinedRegistry(own, shipped)


@pytest.mark.parametrize(
    "ref", ["student", "student@1", "student:1", "student@latest", "student@champion", "models:/student/1"]
)
def test_a_shipped_version_is_found_by_every_spelling(shipped: ShippedRegistry, student: Version, ref: str) -> None:
    assert shipped.get(ref).digest == student.digest
    assert shipped.get(f"sha256:{student.digest[:12]}") == shipped.get(ref) == shipped.get(shipped.get(ref))


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("studnt", "did you mean 'student'"),
        ("student@2", "version 1 is shipped"),
        ("student@challenger", "no alias but champion"),
        ("sha256:000000000000", "no shipped version has a digest"),
    ],
)
def test_what_is_not_shipped_is_said(shipped: ShippedRegistry, ref: str, message: str) -> None:
    with pytest.raises(UnknownVersionError, match=message):
        shipped.get(ref)


def test_nothing_is_copied_and_folders_without_a_lineage_are_left_out(
    shipped: ShippedRegistry, folders: list[Path]
) -> None:
    assert shipped.names() == ("student", "teacher")
    assert shipped.folder("student") == folders[0]
    with shipped.lease("teacher") as folder:
        assert folder == folders[1]


def test_what_is_known_of_a_version_is_shipped_with_it(shipped: ShippedRegistry) -> None:
    assert shipped.description("student") == "A student."
    assert len(shipped.metrics("student")) == len(shipped.metrics()) == 6
    assert (shipped.tags("student"), shipped.notes("student"), shipped.alias_log("student")) == ({}, (), ())


def test_lineage_leads_from_shipped_to_shipped_and_back(shipped: ShippedRegistry) -> None:
    teacher, data = shipped.lineage("student").children
    assert teacher.version == shipped.get("teacher") and teacher.role == "teacher" and data.version is None
    assert [node.ref for node in teacher.children] == ["meta-llama/Llama-3.2-1B"]
    assert [node.ref for node in shipped.descendants("teacher").children] == ["student@1"]


def test_verify_finds_what_has_changed_since(shipped: ShippedRegistry, folders: list[Path]) -> None:
    assert shipped.verify() == ()
    weights = folders[0] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (finding,) = shipped.verify()
    assert (finding.subject, finding.severity) == ("student@1", "error")
    assert "model.safetensors has another sha256" in finding.detail
    (folders[1] / "config.json").unlink()
    assert {finding.subject for finding in shipped.verify()} == {"student@1", "teacher@1"}


def test_two_folders_of_one_name_are_refused(folders: list[Path], tmp_path: Path) -> None:
    shutil.copytree(folders[0], tmp_path / "double")
    with pytest.raises(CheckpointError, match="both ship a model 'student'"):
        ShippedRegistry([*folders, tmp_path / "double"])


def test_a_shipped_version_can_be_imported_and_exported_like_any_other(
    shipped: ShippedRegistry, folders: list[Path], tmp_path: Path, student: Version
) -> None:
    other = Registry(tmp_path / "other")
    assert import_checkpoint(other, folders[0], "copy").version.digest == student.digest
    export_version(other, "copy", tmp_path / "out")


def test_a_joined_registry_answers_from_where_the_name_is(joined: JoinedRegistry) -> None:
    assert joined.names() == ("mine", "student", "teacher")
    assert [version.name for version in joined.versions()] == ["mine", "student", "teacher"]
    assert joined.get("mine") == joined.own.get("mine") and joined.get("student") == joined.shipped.get("student")
    assert not joined.is_shipped(joined.get("mine")) and joined.is_shipped(joined.get("student"))
    assert joined.folder("mine").is_dir() and joined.folder(joined.get("student")).is_dir()
    for name in joined.names():
        digest = joined.get(name).digest
        assert joined.get(f"sha256:{digest}").name == name
        assert joined.lineage(name).ref == f"{name}@1" == joined.descendants(name).ref
        assert joined.tags(name) == {} and joined.notes(name) == () and joined.alias_log(name) == ()
    assert len(joined.metrics()) == len(joined.metrics("student")) == 6 and joined.metrics("mine") == ()
    assert joined.description("student") == "A student." and joined.description("mine") is None
    assert joined.verify() == ()


def test_the_closest_of_all_names_is_offered(joined: JoinedRegistry) -> None:
    with pytest.raises(UnknownVersionError, match="did you mean 'student'"):
        joined.get("stundent@3")
    with pytest.raises(UnknownVersionError, match="did you mean 'mine'"):
        joined.versions("mines")


def test_a_name_in_both_is_refused_and_a_digest_still_tells(
    joined: JoinedRegistry, make_checkpoint: MakeCheckpoint
) -> None:
    version = joined.own.publish("student", make_checkpoint("another", seed=8))
    for ask in (joined.get, joined.folder, joined.lineage, joined.description):
        with pytest.raises(RegistryError, match="both a model of your registry and one that is shipped"):
            ask("student")
    assert joined.get(f"sha256:{version.digest}") == version
    assert joined.folder(version) == joined.own.folder(version)
