"""What users of the registry rely on: identity, references, aliases, figures, deletion, reading."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from safetensors import safe_open

from timetrial_registry import AliasConflictError, CheckpointError, Metric, Parent, Provenance, Registry
from timetrial_registry.error import RegistryError, UnknownVersionError

from .conftest import write_checkpoint

# publish


def test_a_published_folder_is_given_back_byte_for_byte(registry, make_checkpoint):
    source = make_checkpoint(README__md="hello")
    folder = registry.folder(registry.publish("student", source))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }
    with safe_open(folder / "model.safetensors", framework="np") as weights:
        assert set(weights.keys()) == {"model.norm", "lm_head", "model.empty"}


def test_the_digest_of_a_version_is_that_of_its_manifest(registry, make_checkpoint):
    version = registry.publish("student", make_checkpoint(), Provenance(stage="sft", versions={"torch": "2.13"}))
    assert version.digest == version.manifest.digest
    assert version.manifest.canonical_json() == version.manifest_json
    assert version.manifest.provenance == Provenance(stage="sft", versions={"torch": "2.13"})
    assert version.manifest.config == {"model_type": "llama", "hidden_size": 8}
    assert version.size == sum(file.size for file in version.manifest.files)


def test_the_same_files_with_the_same_provenance_are_one_version(registry, make_checkpoint):
    first = registry.publish("student", make_checkpoint("one"), Provenance(stage="sft"))
    again = registry.publish("student", make_checkpoint("two"), Provenance(stage="sft"))
    assert again == first
    assert registry.publish("student", make_checkpoint("one"), Provenance(stage="kd")).version == 2
    assert registry.publish("student", make_checkpoint("one", seed=1), Provenance(stage="sft")).version == 3
    other = registry.publish("other", make_checkpoint("two", seed=0), Provenance(stage="sft"))
    assert (other.version, other.digest) == (1, first.digest)


def test_equal_files_are_stored_once(registry, make_checkpoint):
    registry.publish("student", make_checkpoint("one"))
    before = set((registry.path / "blobs").rglob("*"))
    registry.publish("student", make_checkpoint("two", extra__txt="new"))
    assert len({path for path in (registry.path / "blobs").rglob("*") if path.is_file()} - before) == 1


def test_the_tensor_digest_is_the_same_for_other_files_with_the_same_tensors(registry, make_checkpoint):
    one = registry.publish("student", make_checkpoint("one"))
    two = registry.publish("student", make_checkpoint("two", README__md="x"))
    three = registry.publish("student", make_checkpoint("three", seed=1))
    assert one.tensor_digest == two.tensor_digest != three.tensor_digest
    assert one.digest != two.digest


def test_what_is_published_cannot_be_changed(student):
    changes = [
        "UPDATE version SET digest = 'x'",
        "UPDATE version SET manifest = '{}' WHERE version = 1",
        "UPDATE version SET version = 9 WHERE version = 1",
        "DELETE FROM version",
        "UPDATE alias_log SET by = 'me'",
        "DELETE FROM event",
        "DELETE FROM metric",
    ]
    student.set_alias("student", "champion", 1)
    student.attach("student", [Metric(dataset="gsm8k", metric="accuracy", value=0.5)])
    with closing(sqlite3.connect(student.path / "registry.db", isolation_level=None)) as connection:
        for change in changes:
            with pytest.raises(sqlite3.IntegrityError, match="immutable"):
                connection.execute(change)


def test_a_refused_folder_leaves_no_registry_behind(registry, tmp_path):
    with pytest.raises(CheckpointError, match="is no folder"):
        registry.publish("student", tmp_path / "nothing")
    assert not registry.path.exists()


def test_a_config_that_json_cannot_say_is_refused(registry, make_checkpoint):
    folder = make_checkpoint()
    (folder / "config.json").write_text('{"model_type": "llama", "rope_theta": NaN}')
    with pytest.raises(CheckpointError, match="cannot be written as JSON"):
        registry.publish("student", folder)
    assert registry.names() == ()


def test_a_full_disk_is_said_before_anything_is_copied(registry, make_checkpoint, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: os.terminal_size((1, 1)) and type("U", (), {"free": 10}))
    with pytest.raises(RegistryError, match="10 bytes free, and .* are needed"):
        registry.publish("student", make_checkpoint())


def test_progress_counts_every_byte_that_is_copied_or_hashed(registry, make_checkpoint):
    from contextlib import contextmanager

    seen = []

    @contextmanager
    def bar(label, total):
        seen.append([label, total, 0])

        def advance(count):
            seen[-1][2] += count

        yield advance

    version = registry.publish("student", make_checkpoint(), progress=bar)
    registry.verify(progress=bar)
    assert [label for label, _, _ in seen] == ["publish student", "verify"]
    assert all(total == done for _, total, done in seen)
    assert seen[1][1] == version.size


# find


@pytest.mark.parametrize(
    ("ref", "number"),
    [("student", 3), ("student@latest", 3), ("student@1", 1), ("student:2", 2), ("models:/student/2", 2),
     ("student@champion", 2), ("models:/student@champion", 2)],
)  # fmt: skip
def test_a_version_is_found_by_each_spelling(student, ref, number):
    student.set_alias("student", "champion", 2)
    assert student.get(ref).version == number


def test_a_version_is_found_by_the_first_digits_of_its_digest(student):
    version = student.get("student@2")
    assert student.get(f"sha256:{version.digest[:10]}") == student.get(f"sha256:{version.digest}") == version


@pytest.mark.parametrize(
    ("ref", "hint"),
    [("studnet", "did you mean 'student'"), ("student@champoin", "did you mean 'champion'"), ("x", "known: student"),
     ("student@4", "expected 1 to 3"), ("sha256:000000", "begins with '000000'")],
)  # fmt: skip
def test_what_is_not_there_is_named_with_the_closest(student, ref, hint):
    student.set_alias("student", "champion", 1)
    with pytest.raises(UnknownVersionError, match=hint):
        student.get(ref)


def test_a_registry_that_does_not_exist_is_empty_and_stays_so(registry):
    assert (registry.names(), registry.versions(), registry.metrics(), registry.verify()) == ((), (), (), ())
    assert registry.collect(dry_run=False).removed == ()
    assert not registry.exists and not registry.path.exists() and registry.storage() is None
    with pytest.raises(UnknownVersionError, match="no model 'x': there is none"):
        registry.get("x")


def test_the_default_folder_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("TIMETRIAL_REGISTRY", raising=False)
    assert Registry().path == tmp_path / "timetrial" / "registry"
    monkeypatch.setenv("TIMETRIAL_REGISTRY", str(tmp_path / "mine"))
    assert Registry().path == tmp_path / "mine"


def test_a_version_of_another_registry_is_not_taken_for_one_here(student, tmp_path, make_checkpoint):
    other = Registry(tmp_path / "other").publish("student", make_checkpoint("other", seed=9))
    with pytest.raises(UnknownVersionError, match="student@1 of another registry"):
        student.folder(other)


def test_the_registry_imports_neither_torch_nor_numpy_nor_the_hub():
    code = "import sys; from timetrial_registry import Registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "huggingface_hub", "timetrial"} & set(done.stdout.split()) == set()


# aliases


def test_an_alias_moves_only_from_where_it_is_expected(student):
    assert student.set_alias("student", "champion", 1, expected=None).old is None
    with pytest.raises(AliasConflictError, match="is version 1, not version 2 as expected"):
        student.set_alias("student", "champion", 3, expected=2)
    with pytest.raises(AliasConflictError, match="is version 1, not nowhere as expected"):
        student.set_alias("student", "champion", 3, expected=None)
    student.set_alias("student", "champion", 3, expected=1, reason="better", by="me")
    student.set_alias("student", "champion", None)
    moves = [(move.old, move.new, move.reason) for move in student.alias_log("student", "champion")]
    assert moves == [(None, 1, None), (1, 3, "better"), (3, None, None)]
    assert student.get("student@3").aliases == ()


def test_an_alias_leads_to_versions_that_are_there_only(student):
    with pytest.raises(UnknownVersionError, match="no version 9"):
        student.set_alias("student", "champion", 9)
    with pytest.raises(UnknownVersionError, match="no model 'nobody'"):
        student.set_alias("nobody", "champion", 1)
    assert student.alias_log("student") == ()


# figures, tags, notes


def test_the_same_figure_of_the_same_run_is_kept_once(student):
    figure = Metric(
        dataset="gsm8k", split="test", metric="majority", value=0.5, stderr=0.02, n=500, params={"k": 8}, run_digest="r"
    )
    assert student.attach("student", [figure, figure]) == 1
    assert student.attach("student", [figure]) == 0
    with pytest.raises(RegistryError, match="One run has one figure"):
        student.attach("student", [Metric(**{**as_dict(figure), "value": 0.6})])
    more = [
        Metric(**{**as_dict(figure), **change})
        for change in ({"params": {"k": 4}}, {"run_digest": "s"}, {"split": "a"})
    ]
    assert student.attach("student", more) == 3
    (version, kept), *_ = student.metrics("student")
    assert version == student.get("student") and kept.at is not None
    assert Metric(**{**as_dict(kept), "at": None}) == figure
    assert len(student.metrics()) == 4 and student.metrics("student@1") == ()


def as_dict(metric: Metric) -> dict:
    from dataclasses import asdict

    return asdict(metric)


def test_figures_are_attached_all_or_none_and_finite(student):
    good = Metric(dataset="a", metric="b", value=1.0)
    for bad in (
        Metric(dataset="a", metric="b", value=float("nan")),
        Metric(dataset="a", metric="b", value=1, stderr=float("inf")),
    ):
        with pytest.raises(RegistryError, match="expected finite numbers"):
            student.attach("student", [good, bad])
    assert student.metrics() == ()


def test_tags_and_notes_belong_to_one_version(student):
    student.tag("student@1", "quantised", "no")
    student.tag("student@1", "quantised", "yes")
    student.tag("student@1", "x", "y")
    student.tag("student@1", "x", None)
    student.note("student@1", "first", by="me")
    student.note("student@1", "second")
    assert student.tags("student@1") == {"quantised": "yes"} and student.tags("student@2") == {}
    assert [note.text for note in student.notes("student@1")] == ["first", "second"]
    assert student.notes("student@1")[0].by == "me"
    student.record_event("student@1", "pushed", "org/name at abc")
    assert [event.kind for event in student.events("student@1")] == ["published", "pushed"]


# lineage


def test_parents_here_are_pinned_and_a_mistyped_one_is_refused(student, make_checkpoint):
    student.set_alias("student", "champion", 2)
    parents = (
        Parent(role="teacher", ref="student@champion"),
        Parent(role="init", ref="org/name", revision="abc"),
        Parent(role="data", ref="gsm8k"),
    )
    version = student.publish("next", make_checkpoint("next", seed=9), Provenance(parents=parents))
    teacher = student.get("student@2")
    assert version.manifest.provenance.parents == (
        Parent(role="teacher", ref="student@2", digest=teacher.digest), *parents[1:]
    )  # fmt: skip
    student.set_alias("student", "champion", 3)
    assert student.lineage("next").children[0].version == student.get("student@2"), "an alias moves, lineage does not"
    with pytest.raises(UnknownVersionError, match="did you mean 'student'.*named as the teacher"):
        student.publish("next", make_checkpoint("next"), Provenance(parents=(Parent(role="teacher", ref="studnet"),)))
    with pytest.raises(RegistryError, match="the provenance says abc"):
        wrong = Parent(role="teacher", ref="student@1", digest="abc")
        student.publish("next", make_checkpoint("next"), Provenance(parents=(wrong,)))


# deletion


def test_the_number_of_a_deleted_version_is_not_given_again(student, make_checkpoint):
    student.delete("student@3")
    assert student.get("student").version == 2
    with pytest.raises(UnknownVersionError, match="student@3 is deleted"):
        student.get("student@3")
    assert student.get("student@3", deleted=True).state == "deleted"
    assert student.publish("student", make_checkpoint("new", seed=7)).version == 4
    assert [version.version for version in student.versions("student")] == [1, 2, 4]
    assert len(student.versions("student", deleted=True)) == 4


def test_publishing_a_deleted_version_again_brings_it_back(student, make_checkpoint):
    before = student.get("student@2")
    student.delete(before)
    student.collect(dry_run=False, grace_s=0)
    again = student.publish("student", make_checkpoint(seed=1), Provenance(stage="stage-1"))
    assert again == before
    assert student.folder(again).is_dir() and student.verify() == ()
    assert [event.kind for event in student.events(again)] == ["published", "deleted", "collected", "revived"]


def test_a_version_that_is_needed_is_deleted_by_force_only(student, make_checkpoint):
    parents = (Parent(role="stage_parent", ref="student@1"),)
    student.publish("next", make_checkpoint("next", seed=9), Provenance(parents=parents))
    student.set_alias("student", "champion", 1)
    with pytest.raises(RegistryError, match="student@1 is student@champion"):
        student.delete("student@1")
    student.set_alias("student", "champion", None)
    with pytest.raises(RegistryError, match="next@1 was made from student@1"):
        student.delete("student@1")
    student.set_alias("student", "champion", 1)
    student.delete("student@1", force=True, reason="wrong data", by="me")
    assert student.alias_log("student", "champion")[-1].reason == "wrong data"
    assert student.verify() == ()


# read


@pytest.mark.skipif(os.name != "posix", reason="needs file modes")
def test_who_may_read_is_decided_by_the_users_mask(registry, make_checkpoint):
    before = os.umask(0o077)
    try:
        folder = registry.folder(registry.publish("private", make_checkpoint()))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "config.json")] == [0o500, 0o400]


def test_a_folder_is_write_protected_and_looked_over_each_time(student):
    folder = student.folder("student")
    assert not (folder / "config.json").stat().st_mode & 0o222 and not folder.stat().st_mode & 0o222
    weights = folder / "model.safetensors"
    weights.chmod(0o644)
    with weights.open("ab") as file:
        file.write(b"x")
    with pytest.raises(RegistryError, match=r"model\.safetensors has .* bytes instead of"):
        student.folder("student")
    assert student.folder("student@1").is_dir()


def test_a_file_that_was_touched_is_hashed_again(student):
    weights = student.folder("student") / "model.safetensors"
    weights.chmod(0o644)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RegistryError, match="does not have the content it was published with"):
        student.folder("student")


def test_a_copied_registry_is_hashed_once_and_then_remembered(student, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(student.path, copy)
    registry = Registry(copy)
    folder = registry.folder("student")
    blob = next((copy / "blobs" / "sha256").rglob(registry.get("student").manifest.files[0].sha256))
    assert os.path.samefile(blob, folder / "config.json"), "links are made again"
    assert registry.verify() != (), "the folders of the other versions are copies"
    assert {finding.kind for finding in registry.verify(repair=True)} == {"folder"}
    assert registry.verify() == ()


def test_a_read_only_registry_gives_folders_and_takes_nothing(student, make_checkpoint):
    folder = student.folder("student")
    before = times(student.path)
    reader = Registry(student.path, read_only=True)
    assert reader.folder("student") == folder
    assert len(reader.versions()) == 3 and reader.verify() == ()
    for change in (
        lambda: reader.publish("student", make_checkpoint("x", seed=5)),
        lambda: reader.set_alias("student", "champion", 1),
        lambda: reader.delete("student"),
        lambda: reader.collect(dry_run=False),
        lambda: reader.lease("student").__enter__(),
    ):
        with pytest.raises(RegistryError, match="opened for reading only, or write-protected"):
            change()
    assert times(student.path) == before


def times(folder: Path) -> dict[Path, int]:
    """When each file was changed, but for what SQLite shares between processes that read."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("registry.db-"))
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_folder_with_other_files_is_not_made_a_registry(tmp_path, make_checkpoint):
    write_checkpoint(tmp_path / "full")
    with pytest.raises(RegistryError, match=r"holds config\.json.*expected an empty or new folder"):
        Registry(tmp_path / "full").publish("student", make_checkpoint())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [("PRAGMA application_id = 1", "no timetrial registry"), ("PRAGMA user_version = 99", "has schema 99")],
)
def test_a_database_of_another_kind_is_refused(student, change, complaint):
    with closing(sqlite3.connect(student.path / "registry.db")) as connection:
        connection.execute(change)
    with pytest.raises(RegistryError, match=complaint):
        student.names()


def test_a_damaged_database_is_named(student):
    path: Path = student.path / "registry.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(RegistryError, match=r"registry\.db refused: file is not a database"):
        student.names()
