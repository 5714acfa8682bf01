"""gc removes what nobody needs and nothing else: not parents, not the young, not what a reader is using."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from timetrial_registry import Parent, Provenance, Registry

READER = """
import sys
from timetrial_registry import Registry

with Registry(sys.argv[1]).lease("student@2") as folder:
    print(folder, flush=True)
    sys.stdin.readline()
"""


def kinds(items) -> set[tuple[str, str]]:
    return {(item.kind, item.reason) for item in items}


def test_a_dry_run_names_what_a_real_run_removes_and_removes_nothing(student):
    student.delete("student@2")
    before = sorted(student.path.rglob("*"))
    planned = student.collect(grace_s=0)
    assert planned.is_dry_run and sorted(student.path.rglob("*")) == before
    done = student.collect(dry_run=False, grace_s=0)
    assert (done.removed, done.kept, done.is_dry_run) == (planned.removed, planned.kept, False)
    assert done.size == planned.size == student.get("student@2", deleted=True).manifest.files[1].size
    assert student.collect(grace_s=0).removed == ()


def test_the_files_of_a_deleted_version_go_and_shared_ones_stay(student):
    folder = student.folder("student@2")
    student.delete("student@2")
    student.collect(dry_run=False, grace_s=0)
    assert not folder.exists()
    for ref in ("student@1", "student@3"):
        assert (student.folder(ref) / "tokenizer.json").read_text() == "{}"
    assert {finding.kind for finding in student.verify()} <= {"folder"}


def test_a_version_deleted_just_now_is_kept_for_the_grace_period(student):
    student.delete("student@2")
    found = student.collect(dry_run=False)
    assert found.removed == () and kinds(found.kept) == {("version", "deleted within the grace period")}


def test_what_a_kept_version_was_made_from_is_kept_however_far_back(student, make_checkpoint):
    middle = Provenance(parents=(Parent(role="stage_parent", ref="student@1"),))
    student.publish("middle", make_checkpoint("middle", seed=8), middle)
    end = Provenance(parents=(Parent(role="stage_parent", ref="middle"),))
    student.publish("end", make_checkpoint("end", seed=9), end)
    student.delete("student@1", force=True)
    student.delete("middle", force=True)
    found = student.collect(dry_run=False, grace_s=0)
    assert found.removed == () and kinds(found.kept) == {("version", "a kept version was made from it")}
    pruned = student.collect(dry_run=False, grace_s=0, prune_lineage=True)
    assert {item.subject for item in pruned.removed if item.kind == "version"} == {"student@1", "middle@1"}
    tree = student.lineage("end")
    assert [node.ref for node in (tree, tree.children[0], tree.children[0].children[0])] == [
        "end@1", "middle@1", "student@1",
    ]  # fmt: skip


def test_a_version_that_a_reader_has_leased_is_kept_until_it_is_done(student):
    with student.lease("student@2") as folder:
        student.delete("student@2")
        found = student.collect(dry_run=False, grace_s=0)
        assert found.removed == ()
        assert kinds(found.kept) == {("version", "a reader is using it"), ("lease", "a reader is using the version")}
        assert (folder / "model.safetensors").is_file()
    student.collect(dry_run=False, grace_s=0)
    assert not folder.exists()


def test_the_lease_of_a_reader_that_was_killed_ends_with_it(student):
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(student.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with reader:
        folder = Path(reader.stdout.readline().strip())
        student.delete("student@2")
        assert student.collect(dry_run=False, grace_s=0).removed == ()
        reader.kill()
    removed = student.collect(dry_run=False, grace_s=0).removed
    assert "lease" not in {item.kind for item in student.collect(grace_s=0).kept}
    assert {item.kind for item in removed} >= {"version", "folder", "blob"}
    assert not folder.exists() and list((student.path / "leases").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["registry.db.0123abc", "storage.json.0123abc", "locking-abc", "tmp/dead", "tmp/dead.lock", "leases/abc.def"],
)
def test_what_killed_processes_leave_goes_after_the_grace_period(student, name):
    path = student.path / name
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if name in ("locking-abc", "tmp/dead") else path.write_text("x")
    assert student.collect(dry_run=False).removed == ()
    assert path.exists()
    assert [item.subject for item in student.collect(dry_run=False, grace_s=0).removed] == [name]
    assert not path.exists()


def test_nothing_of_the_registrys_own_is_debris(student):
    with Registry(student.path)._database.read():
        assert student.collect(grace_s=0).removed == ()
