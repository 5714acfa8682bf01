"""`timetrial registry`: what a person reads, what a script reads, and the exit codes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from timetrial.catalog import open_catalog
from timetrial.cli.main import run_command_line
from timetrial.registries import open_registries
from timetrial_registry import Metric, Parent, Registry
from timetrial_registry.storage import Storage


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def say(registry: Registry, monkeypatch, capsys) -> Callable[..., Said]:
    """Run a sub-command on the test's registry."""
    monkeypatch.setenv("TIMETRIAL_REGISTRY", str(registry.path))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Said:
        code = run_command_line(["registry", *map(str, arguments)])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def published(say, make_checkpoint) -> Callable[..., Said]:
    """The command line after a teacher and a student were published."""
    assert say("publish", "teacher", make_checkpoint("t", seed=1), "--description", "large", "-q").code == 0
    source = make_checkpoint("s", seed=2, optimizer__pt="x")
    flags = (
        "--teacher",
        "teacher",
        "--data",
        "openai/gsm8k#main",
        "--stage",
        "sft",
        "--tokens",
        100,
        "--alias",
        "best",
    )
    said = say("publish", "student", source, *flags)
    assert said.code == 0 and "left out: optimizer.pt (may run code when loaded)" in said.err
    assert said.out.startswith("student@1, student@best, sha256:")
    return say


def own(rows: list[dict]) -> list[dict]:
    return [row for row in rows if not row.get("latest", row)["is_shipped"]]


def test_publishing_says_what_the_flags_said(published, registry):
    provenance = registry.get("student").manifest.provenance
    assert (provenance.stage, provenance.tokens) == ("sft", 100)
    assert provenance.parents == (
        Parent(role="teacher", ref="teacher@1", digest=registry.get("teacher").digest),
        Parent(role="data", ref="openai/gsm8k", revision="main"),
    )


def test_publishing_again_says_that_it_was_published_before(published, tmp_path):
    said = published("publish", "teacher", tmp_path / "sources" / "t", "--json", "-q").json
    assert (said["ref"], said["is_new"]) == ("teacher@1", False)
    assert "was published before" in published("publish", "teacher", tmp_path / "sources" / "t", "-q").out


def test_flags_win_over_a_provenance_file_and_parents_add_up(published, registry, tmp_path, make_checkpoint):
    file = tmp_path / "provenance.json"
    data = {"stage": "kd", "seed": 7, "recipe": {"lr": 1e-4}, "parents": [{"role": "init", "ref": "org/name"}]}
    file.write_text(json.dumps(data))
    flags = ("--provenance", file, "--stage", "sft", "--teacher", "teacher", "-q")
    assert published("publish", "other", make_checkpoint("o"), *flags).code == 0
    provenance = registry.get("other").manifest.provenance
    assert (provenance.stage, provenance.seed, provenance.recipe) == ("sft", 7, {"lr": 1e-4})
    assert [parent.role for parent in provenance.parents] == ["init", "teacher"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "is no JSON"), ('{"stagee": 1}', "unknown fields stagee"), ("[]", "expected an object"),
     ('{"parents": [{"role": "x"}]}', "cannot be recorded"), ('{"tokens": "many"}', "tokens = 'many': expected int")],
)  # fmt: skip
def test_a_wrong_provenance_file_is_refused(say, tmp_path, make_checkpoint, text, complaint):
    (tmp_path / "provenance.json").write_text(text)
    said = say("publish", "x", make_checkpoint(), "--provenance", tmp_path / "provenance.json")
    assert said.code in (2, 6) and complaint in said.err


def test_the_listing_has_a_line_for_each_model_or_each_version(published, make_checkpoint):
    published("publish", "student", make_checkpoint("s2", seed=3), "-q")
    models = {row["name"]: row for row in own(published("list", "--json").json)}
    assert models["student"]["latest"]["ref"] == "student@2" and models["student"]["num_versions"] == 2
    assert models["teacher"]["description"] == "large"
    assert [row["ref"] for row in published("list", "student", "--json").json] == ["student@1", "student@2"]
    assert len(own(published("list", "--all", "--json").json)) == 3
    for words in ("student@2", "teacher@1", "large"):
        assert words in published("list").out
    assert "best" in published("list", "student").out


def test_deleted_versions_are_listed_when_asked_for(published, make_checkpoint):
    published("publish", "student", make_checkpoint("s2", seed=3), "-q")
    published("delete", "student@1", "--force", "--reason", "wrong data")
    assert [row["ref"] for row in published("list", "student", "--json").json] == ["student@2"]
    rows = published("list", "student", "--deleted", "--json").json
    assert [row["state"] for row in rows] == ["deleted", "ready"]
    said = published("list", "--deleted")
    assert said.code == 2 and "goes with NAME or --all" in said.err


def test_show_says_all_that_is_known(published, registry):
    registry.attach("student", [Metric(dataset="gsm8k", metric="majority", value=0.5, stderr=0.02, params={"k": 8})])
    published("tag", "student", "quantised=no", "old=")
    published("note", "student@best", "looks good", "--by", "me")
    facts = published("show", "student@best", "--json").json
    assert facts["manifest"]["provenance"]["stage"] == "sft"
    assert [file["path"] for file in facts["manifest"]["files"]] == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert facts["tags"] == {"quantised": "no"} and facts["notes"][0]["text"] == "looks good"
    assert facts["metrics"][0]["value"] == 0.5 and facts["events"][0]["kind"] == "published"
    shown = published("show", "student").out
    for words in ("sha256:", "teacher@1 at", "openai/gsm8k at main", "k=8", "looks good", "quantised", "left out: opt"):
        assert words in shown


def test_lineage_comes_as_text_json_and_chart(published):
    assert "|-- teacher: teacher@1" in published("lineage", "student").out
    tree = published("lineage", "student", "--format", "json").json
    assert [child["ref"] for child in tree["children"]] == ["teacher@1", "openai/gsm8k"]
    assert published("lineage", "student", "--format", "mermaid").out.startswith("flowchart TD")
    assert "`-- teacher: student@1" in published("lineage", "teacher", "--descendants").out


def test_an_alias_is_moved_rolled_back_removed_and_its_history_shown(published, make_checkpoint):
    published("publish", "student", make_checkpoint("s2", seed=3), "-q")
    assert published("alias", "student", "best", "latest").out == "student@best: 1 -> 2\n"
    said = published("alias", "student", "best", "1", "--expected", "1")
    assert said.code == 6 and "is version 2, not version 1 as expected" in said.err
    assert published("alias", "student", "best", "--rollback").out == "student@best: 2 -> 1\n"
    assert published("alias", "student", "best", "--remove", "--json").json["new"] is None
    log = published("alias", "student", "--json").json
    assert [(move["old"], move["new"]) for move in log] == [(None, 1), (1, 2), (2, 1), (1, None)]
    assert "rollback" in published("alias", "student").out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["student", "--remove"], "give an ALIAS"),
        (["student", "best", "1", "--rollback"], "one of VERSION, --remove and --rollback"),
        (["student", "other", "--rollback"], "has never moved"),
        (["student", "best", "1", "--expected", "x"], "expected the number of a version, or 'nowhere'"),
        (["studnet"], "did you mean 'student'"),
        (["student", "latest", "1"], "is reserved"),
    ],
)
def test_a_wrong_alias_command_says_what_was_expected(published, arguments, complaint):
    said = published("alias", *arguments)
    assert said.code != 0 and complaint in said.err


def test_verify_exits_with_1_when_something_is_wrong_and_0_after_it_is_mended(published, registry, tmp_path):
    assert published("verify", "-q").code == 0
    assert published("verify", "--json", "-q").json == []
    weights = registry.folder("teacher") / "model.safetensors"
    weights.chmod(0o644)
    os.truncate(weights, 5)
    said = published("verify", "-q")
    assert said.code == 1 and "truncated" in said.out and "teacher@1: model.safetensors" in said.out
    assert published("verify", "--repair", "-q").code == 1
    assert published("publish", "teacher", tmp_path / "sources" / "t", "-q").code == 0
    said = published("verify", "--json", "-q")
    assert said.code == 0 and [finding["kind"] for finding in said.json] == ["quarantined"]


def test_gc_lists_first_and_removes_when_told(published, registry):
    assert "would remove 0 things" in published("gc").out
    folder = registry.folder("student")
    published("delete", "student", "--force")
    assert "deleted within the grace period" in published("gc").out
    said = published("gc", "--grace", "0")
    assert "remove" in said.out and "gc --delete` removes them" in said.out and folder.exists()
    assert "removed" in published("gc", "--grace", "0", "--delete").out and not folder.exists()
    assert published("gc", "--grace", "0", "--json").json["removed"] == []


def test_a_registry_without_proper_locks_says_so(say, registry, make_checkpoint):
    registry.path.mkdir()
    Storage(mode="lock_file", reason="it is on a network file system (nfs4)", tried_by=()).save(registry.path)
    said = say("publish", "teacher", make_checkpoint(), "-q")
    assert said.code == 0 and "network file system (nfs4). A lock file guards every access" in said.err
    assert "network file system" in say("list").err
    (finding,) = say("verify", "--json", "-q").json
    assert finding["kind"] == "storage"


def test_an_empty_registry_is_no_error(say, registry):
    assert own(say("list", "--json").json) == []
    assert say("verify", "-q").code == 0 and say("gc").code == 0
    assert not registry.path.exists()


def test_a_folder_that_is_no_checkpoint_is_refused_with_its_contents(say, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    said = say("publish", "x", tmp_path / "empty")
    assert said.code == 4 and "is no checkpoint: found nothing" in said.err


def test_what_plugins_ship_is_a_parent_and_cannot_be_changed(say, registry, make_checkpoint):
    shipped = open_registries(open_catalog()).shipped.get("nutshell-llama")
    assert say("publish", "student", make_checkpoint(), "--teacher", "nutshell-llama", "-q").code == 0
    parents = registry.get("student").manifest.provenance.parents
    assert parents == (Parent(role="teacher", ref=shipped.ref, digest=shipped.digest),)
    assert f"teacher: nutshell-llama@1  (outside, {shipped.digest[:12]})" in say("lineage", "student").out
    for command in (
        ["tag", "nutshell-llama", "a=b"],
        ["alias", "nutshell-llama", "best", "1"],
        ["delete", shipped.ref],
    ):
        said = say(*command)
        assert said.code == 2 and "is shipped with a plugin" in said.err
    said = say("publish", "nutshell-llama", make_checkpoint())
    assert said.code == 2 and "publish under another one" in said.err
