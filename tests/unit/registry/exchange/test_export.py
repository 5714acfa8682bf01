"""An export holds the version as published, and what the licences ask for; or it is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from timetrial_registry import Registry
from timetrial_registry.digest import file_digest
from timetrial_registry.error import CheckpointError, RegistryError
from timetrial_registry.export import ExportOptions, export_version
from timetrial_registry.records import Parent, Provenance, Version

from .conftest import LLAMA_TEXT, MakeCheckpoint


def test_every_published_file_is_there_unchanged_but_for_the_card(
    registry: Registry, student: Version, tmp_path: Path
) -> None:
    export = export_version(registry, student, tmp_path / "out")
    for entry in student.manifest.files:
        assert (file_digest(tmp_path / "out" / entry.path) == entry.sha256) is (entry.path != "README.md")
    assert {"README.md", "lineage.json", "NOTICE", "config.json", "model.safetensors"} <= set(export.files)


def test_the_lineage_file_says_what_the_version_is_and_what_it_was_made_from(
    registry: Registry, student: Version, teacher: Version, tmp_path: Path
) -> None:
    export_version(registry, student, tmp_path / "out")
    data = json.loads((tmp_path / "out" / "lineage.json").read_text())
    assert (data["name"], data["version"], data["digest"]) == ("student", 1, student.digest)
    assert data["aliases"] == ["champion"] and len(data["metrics"]) == 6
    above, data_set = data["lineage"]["children"]
    assert (above["role"], above["ref"], above["digest"]) == ("teacher", "teacher@1", teacher.digest)
    assert above["children"][0]["ref"] == "meta-llama/Llama-3.2-1B"
    assert (data_set["role"], data_set["revision"]) == ("data", "beef")


def test_a_llama_derivative_without_the_agreement_has_a_notice_that_says_where_it_is(
    registry: Registry, student: Version, tmp_path: Path
) -> None:
    export = export_version(registry, student, tmp_path / "out")
    assert [licence.hub_id for licence in export.missing_agreements] == ["llama3.2"]
    assert not (tmp_path / "out" / "LICENSE").exists(), "no text is invented"
    notice = (tmp_path / "out" / "NOTICE").read_text()
    assert notice.startswith("Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright \u00a9 Meta")
    assert "not in this folder" in notice and "llama3_2" in notice
    assert any("--licence-file" in warning for warning in export.warnings)


def test_the_agreement_is_copied_from_the_ancestor_that_carries_it(
    registry: Registry, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    registry.publish("teacher", make_checkpoint("t", LICENSE__txt=LLAMA_TEXT), Provenance(licence="llama3.2"))
    parents = (Parent(role="teacher", ref="teacher"),)
    registry.publish("student", make_checkpoint("s", seed=3, LICENSE="Apache"), Provenance(parents=parents))
    export = export_version(registry, "student", tmp_path / "out")
    assert export.missing_agreements == () and export.warnings == ()
    assert (tmp_path / "out" / "LICENSE").read_text() == "Apache", "the version's own licence stays"
    assert (tmp_path / "out" / "LICENSE.llama3.2").read_text() == LLAMA_TEXT


def test_the_agreement_is_found_in_a_teachers_folder_outside_of_the_registry(
    registry: Registry, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    outside = make_checkpoint("outside", LICENSE=LLAMA_TEXT)
    parents = (Parent(role="teacher", ref=str(outside)),)
    registry.publish("student", make_checkpoint("s", seed=3), Provenance(parents=parents, licence="llama3.2"))
    assert export_version(registry, "student", tmp_path / "out").missing_agreements == ()
    assert (tmp_path / "out" / "LICENSE").read_text() == LLAMA_TEXT


def test_the_agreement_that_is_given_must_be_the_one_that_applies(
    registry: Registry, student: Version, free: Version, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    text.write_text(LLAMA_TEXT)
    options = ExportOptions(agreement=text)
    assert export_version(registry, student, tmp_path / "out", options).missing_agreements == ()
    assert (tmp_path / "out" / "LICENSE").read_text() == LLAMA_TEXT
    with pytest.raises(RegistryError, match="expected none: no such licence applies"):
        export_version(registry, free, tmp_path / "other", options)
    text.write_text("Apache License")
    with pytest.raises(RegistryError, match="expected the Llama 3.2 Community License Agreement"):
        export_version(registry, student, tmp_path / "other", options)
    assert not (tmp_path / "other").exists()


def test_a_published_notice_is_kept_and_added_to(
    registry: Registry, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    folder = make_checkpoint("s", NOTICE="Thanks to all.\n", LICENSE=LLAMA_TEXT)
    registry.publish("student", folder, Provenance(licence="llama3.2"))
    export_version(registry, "student", tmp_path / "out")
    first, second = (tmp_path / "out" / "NOTICE").read_text().splitlines()
    assert first == "Thanks to all." and second.startswith("Llama 3.2 is licensed")


def test_a_version_without_a_licence_is_exported_with_a_warning(
    registry: Registry, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    registry.publish("bare", make_checkpoint())
    assert "published without a licence" in export_version(registry, "bare", tmp_path / "out").warnings[0]


def test_a_folder_that_holds_something_is_left_alone(registry: Registry, free: Version, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    for folder in (tmp_path, tmp_path / "mine"):
        with pytest.raises(RegistryError, match="is not empty: export into a new folder"):
            export_version(registry, free, folder)
    assert (tmp_path / "mine").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    assert export_version(registry, free, tmp_path / "empty").files


def test_an_earlier_export_is_replaced_if_asked_for_and_nothing_else_ever(
    registry: Registry, free: Version, student: Version, tmp_path: Path
) -> None:
    out, overwrite = tmp_path / "out", ExportOptions(overwrite=True)
    export_version(registry, student, out)
    with pytest.raises(RegistryError, match="or give --overwrite"):
        export_version(registry, free, out)
    export_version(registry, free, out, overwrite)
    assert not (out / "NOTICE").exists() and json.loads((out / "lineage.json").read_text())["name"] == "free"
    (out / "lineage.json").unlink()
    with pytest.raises(RegistryError, match="export into a new folder$"):
        export_version(registry, free, out, overwrite)


def test_an_ancestor_that_is_deleted_does_not_stand_in_the_way(
    registry: Registry, student: Version, tmp_path: Path
) -> None:
    registry.delete("teacher@1", force=True)
    export = export_version(registry, student, tmp_path / "out")
    assert [licence.hub_id for licence in export.llama] == ["llama3.2"]


def test_a_damaged_version_is_not_exported_and_leaves_nothing(
    registry: Registry, free: Version, tmp_path: Path
) -> None:
    weights = registry.folder(free) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    with pytest.raises((CheckpointError, RegistryError)):
        export_version(registry, free, tmp_path / "exports" / "out")
    assert list((tmp_path / "exports").glob("*")) == []


def test_an_unknown_version_is_told_the_closest(registry: Registry, free: Version, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="did you mean 'free'"):
        export_version(registry, "fre", tmp_path / "out")
