"""verify finds each kind of damage, names it, and mends what can be mended; without damage it finds nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from timetrial_registry import CheckpointError, Parent, Provenance, Registry
from timetrial_registry.error import RegistryError
from timetrial_registry.records import Finding


def weights_of(registry: Registry, ref: str) -> Path:
    (entry,) = (file for file in registry.get(ref).manifest.files if file.path == "model.safetensors")
    return registry.path / "blobs" / "sha256" / entry.sha256[:2] / entry.sha256


def flip_a_bit(path: Path, *, keep_time: bool = False) -> None:
    status = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def execute(registry: Registry, *statements: str) -> None:
    """Change the database behind the registry's back."""
    with closing(sqlite3.connect(registry.path / "registry.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def only(findings: tuple[Finding, ...]) -> Finding:
    (finding,) = findings
    return finding


@pytest.fixture
def checked(student: Registry) -> Registry:
    """The registry, its folders made anew after the copying."""
    student.verify(repair=True)
    assert student.verify() == ()
    return student


def test_one_flipped_bit_is_found_named_and_put_aside(checked, make_checkpoint):
    flip_a_bit(weights_of(checked, "student@2"), keep_time=True)
    finding = only(checked.verify())
    assert (finding.kind, finding.subject, finding.severity) == ("corrupt", "student@2: model.safetensors", "error")
    assert weights_of(checked, "student@2").name[:12] in finding.detail

    repaired = only(checked.verify(repair=True))
    assert "moved to quarantine/" in repaired.detail and "publish the same files again" in repaired.detail
    assert not weights_of(checked, "student@2").exists()
    assert len(list((checked.path / "quarantine").iterdir())) == 1
    assert {finding.kind: finding.severity for finding in checked.verify()} == {
        "missing": "error",
        "quarantined": "note",
    }
    with pytest.raises(RegistryError, match=r"student@2 cannot be loaded: model\.safetensors is missing"):
        checked.folder("student@2")

    assert checked.publish("student", make_checkpoint(seed=1), Provenance(stage="stage-1")).version == 2
    assert checked.folder("student@2").is_dir()
    assert {finding.severity for finding in checked.verify()} == {"note"}


def test_a_truncated_file_is_told_by_its_size(checked):
    weights = weights_of(checked, "student@1")
    weights.chmod(0o644)
    os.truncate(weights, 10)
    finding = only(checked.verify())
    assert (finding.kind, finding.subject) == ("truncated", "student@1: model.safetensors")
    assert "has 10 bytes instead of" in finding.detail


def test_a_missing_file_of_several_versions_is_one_finding(checked):
    config = checked.get("student").manifest.files[0]
    (checked.path / "blobs" / "sha256" / config.sha256[:2] / config.sha256).unlink()
    finding = only(checked.verify())
    assert (finding.kind, finding.subject) == ("missing", "student@1: config.json (and 2 more)")


def test_a_disk_that_cannot_read_a_file_is_a_finding(checked, monkeypatch):
    bad = weights_of(checked, "student@1")

    def read(path: Path, *rest: object) -> str:
        if path == bad:
            raise OSError(5, "Input/output error")
        return path.name

    monkeypatch.setattr("timetrial_registry.verify_files.file_digest", read)
    finding = only(checked.verify(repair=True))
    assert (finding.kind, finding.subject) == ("unreadable", "student@1: model.safetensors")
    assert bad.is_file(), "what cannot be read may be read another day"


def test_damage_of_deleted_versions_is_none(checked):
    flip_a_bit(weights_of(checked, "student@2"))
    checked.delete("student@2")
    assert checked.verify() == ()


def remove_folder(registry: Registry) -> None:
    shutil.rmtree(registry.folder("student@1"))


def add_a_file(registry: Registry) -> None:
    folder = registry.folder("student@1")
    folder.chmod(0o755)
    (folder / "model.safetensors.index.json").write_text("{}")


def replace_a_file(registry: Registry) -> None:
    folder = registry.folder("student@1")
    folder.chmod(0o755)
    (folder / "config.json").unlink()
    (folder / "config.json").write_text('{"model_type": "evil"}')


@pytest.mark.parametrize("damage", [remove_folder, add_a_file, replace_a_file])
def test_a_folder_that_was_changed_is_made_again(checked, damage: Callable[[Registry], None]):
    damage(checked)
    finding = only(checked.verify())
    assert (finding.kind, finding.subject, finding.severity) == ("folder", "student@1", "warning")
    assert only(checked.verify(repair=True)).detail.endswith("made again")
    assert checked.verify() == ()
    damage(checked)
    assert '"llama"' in (checked.folder("student@1") / "config.json").read_text(), "loading makes it again too"
    assert checked.verify() == ()


def test_a_dangling_alias_is_found_and_removed(checked):
    execute(checked, "INSERT INTO alias (name, alias, version) VALUES ('student', 'champion', 9)")
    checked.set_alias("student", "old", 1)
    execute(checked, "UPDATE version SET state = 'deleted', deleted_at = '2026-01-01T00:00:00Z' WHERE version = 1")
    findings = checked.verify()
    assert [(finding.kind, finding.subject) for finding in findings] == [
        ("dangling_alias", "student@champion"),
        ("dangling_alias", "student@old"),
    ]
    assert "not there" in findings[0].detail and "deleted" in findings[1].detail
    checked.verify(repair=True)
    assert checked.verify() == ()
    assert [(move.old, move.new) for move in checked.alias_log("student", "champion")] == [(9, None)]


def test_a_cycle_is_found(checked):
    one, two = checked.get("student@1").digest, checked.get("student@2").digest
    for child, parent in ((one, two), (two, one)):
        execute(checked, f"INSERT INTO edge VALUES ('{child}', 'init', 'x', '{parent}', NULL)")
    kinds = [finding.kind for finding in checked.verify()]
    assert sorted(kinds) == ["cycle", "index", "index"]
    root = checked.lineage("student@1")
    assert root.children[0].children[0].is_repeated, "a lineage that turns in a circle ends"
    checked.verify(repair=True)
    assert checked.verify() == ()


def test_a_changed_manifest_is_found_though_the_trigger_was_removed(checked):
    execute(
        checked,
        "DROP TRIGGER version_is_immutable",
        "UPDATE version SET manifest = replace(manifest, 'stage-0', 'stage-9') WHERE version = 1",
    )
    finding = only(checked.verify())
    assert (finding.kind, finding.subject) == ("manifest", "student@1")


def test_a_manifest_with_a_path_that_climbs_out_is_never_followed(checked):
    execute(
        checked,
        "DROP TRIGGER version_is_immutable",
        "UPDATE version SET manifest = replace(manifest, 'tokenizer.json', '../../../x.json') WHERE version = 1",
    )
    assert only(checked.verify(repair=True)).kind == "manifest"
    with pytest.raises(CheckpointError, match="may not hold a file"):
        checked.folder("student@1")
    with pytest.raises(RegistryError, match="manifest of student@1 is damaged.*nothing is removed"):
        checked.collect(dry_run=False, grace_s=0)


def test_rows_made_from_a_manifest_are_made_again(checked, make_checkpoint):
    parents = (Parent(role="teacher", ref="student@1"),)
    checked.publish("next", make_checkpoint("next", seed=9), Provenance(parents=parents))
    execute(checked, "DELETE FROM edge")
    checked.delete("student@1", force=True)
    assert checked.collect(grace_s=0).removed == (), "what may go is decided by manifests"
    assert [(finding.kind, finding.subject) for finding in checked.verify(repair=True)] == [("index", "next@1")]
    assert checked.verify() == () and checked.lineage("next").children[0].ref == "student@1"


def test_a_size_that_contradicts_its_manifest_is_found(checked):
    execute(checked, "DROP TRIGGER version_is_immutable", "UPDATE version SET size = 1 WHERE version = 1")
    assert only(checked.verify()).kind == "index"


def test_a_damaged_page_of_the_database_is_found(checked):
    path = checked.path / "registry.db"
    content = bytearray(path.read_bytes())
    page = 4096
    content[-page : -page + 8] = b"\xff" * 8  # the header of the last page, which an index uses
    path.write_bytes(content)
    try:
        findings = checked.verify()
    except RegistryError as error:
        assert "registry.db refused" in str(error)
    else:
        assert "database" in {finding.kind for finding in findings}


def test_debris_is_noted_and_no_error(checked):
    orphan = checked.path / "blobs" / "sha256" / "00" / ("0" * 64)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_text("x")
    (checked.path / "tmp" / "dead").mkdir(parents=True)
    kinds = {finding.kind: finding.severity for finding in checked.verify()}
    assert kinds == {"orphan_blob": "note", "orphan_staging": "note"}
