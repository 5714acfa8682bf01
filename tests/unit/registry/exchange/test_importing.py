"""What was exported comes back as what it was; what was changed on the way, or plays tricks, does not come in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest

from timetrial_registry import Registry
from timetrial_registry.error import CheckpointError, RegistryError
from timetrial_registry.export import export_version
from timetrial_registry.importing import import_checkpoint
from timetrial_registry.records import Parent, Provenance, Version

from .conftest import MakeCheckpoint

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def exported(registry: Registry, student: Version, tmp_path: Path) -> Path:
    return export_version(registry, student, tmp_path / "exported").folder


@pytest.fixture
def other(tmp_path: Path) -> Registry:
    """The registry of somebody else."""
    return Registry(tmp_path / "other")


def change_lineage(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    data = json.loads((folder / "lineage.json").read_text())
    change(data)
    (folder / "lineage.json").write_text(json.dumps(data))


def test_publish_export_import_gives_the_same_version(other: Registry, exported: Path, student: Version) -> None:
    imported = import_checkpoint(other, str(exported))
    assert imported.version.tensor_digest == student.tensor_digest
    assert imported.version.digest == student.digest, "the card that was published is restored"
    assert imported.version.ref == imported.exported_as == "student@1"
    assert (other.folder("student") / "README.md").read_text().startswith("---\nlanguage: en")
    assert other.description("student") == "A student."
    assert "imported" in [event.kind for event in other.events("student")]


def test_importing_twice_or_where_it_is_from_makes_no_second_version(
    registry: Registry, other: Registry, exported: Path
) -> None:
    for place in (registry, other, other):
        assert import_checkpoint(place, str(exported)).version.ref == "student@1"


def test_an_export_of_an_import_is_the_same_again(other: Registry, exported: Path, tmp_path: Path) -> None:
    import_checkpoint(other, str(exported), with_figures=True)
    again = export_version(other, "student", tmp_path / "again")
    assert [licence.hub_id for licence in again.llama] == ["llama3.2"], "though its ancestors were not imported"
    card = (tmp_path / "again" / "README.md").read_text()
    assert card.count("## Figures") == 1 and "| math-500 |" in card


def test_figures_are_attached_only_if_asked_for(other: Registry, exported: Path) -> None:
    version = import_checkpoint(other, str(exported)).version
    assert other.metrics(version) == ()
    import_checkpoint(other, str(exported), with_figures=True)
    import_checkpoint(other, str(exported), with_figures=True)
    assert len(other.metrics(version)) == 6


def test_a_version_published_with_a_lineage_file_of_its_own_survives_the_way(
    registry: Registry, other: Registry, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    version = registry.publish("odd", make_checkpoint(lineage__json='{"whose": "mine"}'))
    export_version(registry, version, tmp_path / "out")
    assert import_checkpoint(other, str(tmp_path / "out")).version.digest == version.digest
    assert json.loads((other.folder("odd") / "lineage.json").read_text()) == {"whose": "mine"}


def test_a_parent_whose_name_means_something_else_here_is_named_by_its_digest(
    registry: Registry, other: Registry, exported: Path, teacher: Version, make_checkpoint: MakeCheckpoint
) -> None:
    other.publish("teacher", make_checkpoint("another", seed=9))
    version = import_checkpoint(other, str(exported)).version
    assert version.tensor_digest == registry.get("student").tensor_digest
    parent = next(parent for parent in version.manifest.provenance.parents if parent.role == "teacher")
    assert parent == Parent(role="teacher", ref=f"sha256:{teacher.digest}", digest=teacher.digest)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "tokenizer.json").write_text("[]"), "tokenizer.json has another sha256"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "has 5 bytes, published were"),
        (lambda folder: link_out(folder / "tokenizer.json"), "tokenizer.json is a link"),
    ],
)
def test_a_changed_file_is_named_and_nothing_is_imported(
    other: Registry, exported: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(exported)
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(other, str(exported))
    assert other.names() == ()


def link_out(path: Path) -> None:
    """Move a file out of its folder, and leave a link to it."""
    outside = path.parent.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def set_first_path(path: str) -> Callable[[dict[str, object]], None]:
    def change(data: dict[str, object]) -> None:
        data["manifest"]["files"][0]["path"] = path  # type: ignore[index]

    return change


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "C:\\secret", "..\\secret", "", "a//b"])
def test_a_manifest_with_a_path_that_leads_out_is_refused(other: Registry, exported: Path, path: str) -> None:
    change_lineage(exported, set_first_path(path))
    with pytest.raises(CheckpointError, match="lineage.json cannot be read.*may not hold a file"):
        import_checkpoint(other, str(exported))
    assert other.names() == ()


def test_a_manifest_that_was_changed_contradicts_its_digest(other: Registry, exported: Path) -> None:
    change_lineage(exported, lambda data: data["manifest"]["provenance"].update(licence="mit"))  # type: ignore[attr-defined,index]
    with pytest.raises(CheckpointError, match="contradicts itself"):
        import_checkpoint(other, str(exported))


def test_weights_cannot_be_smuggled_in_as_a_replaced_text(other: Registry, exported: Path) -> None:
    change_lineage(exported, lambda data: data["replaced"].update({"model.safetensors": "x"}))  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="exporting does not replace model.safetensors"):
        import_checkpoint(other, str(exported))


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', "{}"])
def test_a_lineage_file_that_is_none_is_refused(other: Registry, exported: Path, text: str) -> None:
    (exported / "lineage.json").write_text(text)
    with pytest.raises(CheckpointError, match="cannot be read as the record of an exported version"):
        import_checkpoint(other, str(exported))


def test_a_tensor_digest_that_is_a_lie_is_found(other: Registry, exported: Path) -> None:
    def lie(data: dict[str, object]) -> None:
        from timetrial_registry.records import Manifest

        data["manifest"]["tensor_digest"] = "0" * 64  # type: ignore[index]
        data["digest"] = Manifest.from_json(json.dumps(data["manifest"])).digest

    change_lineage(exported, lie)
    with pytest.raises(CheckpointError, match="the tensors have the sha256"):
        import_checkpoint(other, str(exported))
    assert other.names() == ()


def test_a_strangers_folder_with_a_link_out_of_it_is_refused(other: Registry, make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    link_out(folder / "tokenizer.json")
    with pytest.raises(CheckpointError, match="leads out of the folder"):
        import_checkpoint(other, str(folder), "stranger")


def test_a_strangers_pickle_is_refused_whatever_its_name(other: Registry, make_checkpoint: MakeCheckpoint) -> None:
    import pickle

    folder = make_checkpoint()
    (folder / "notes.txt").write_bytes(pickle.dumps({"innocent": True}))
    with pytest.raises(CheckpointError, match="is a pickle by its content"):
        import_checkpoint(other, str(folder), "stranger")
    (folder / "notes.txt").unlink()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="may run code when loaded"):
        import_checkpoint(other, str(folder), "stranger")


def test_a_folder_without_a_name_of_its_own_needs_one(other: Registry, make_checkpoint: MakeCheckpoint) -> None:
    with pytest.raises(RegistryError, match="give a name with --name"):
        import_checkpoint(other, str(make_checkpoint()))


def test_a_folder_takes_its_licence_from_its_card(other: Registry, make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint(README__md="---\nlicense: other\nlicense_name: my-own\n---\n# Words\n")
    assert import_checkpoint(other, str(folder), "mine").version.manifest.provenance.licence == "my-own"


@pytest.mark.parametrize("location", ["nowhere", "./no/such/folder", "a/b/c"])
def test_what_is_neither_folder_nor_repository_is_refused(other: Registry, location: str) -> None:
    with pytest.raises(CheckpointError, match="expected a folder, or a Hub id"):
        import_checkpoint(other, location)


class FakeHub:
    """Stands in for the Hub: one repository, whose `main` is at SHA, served as its local cache lays it out."""

    def __init__(self, content: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.content, self.cache = content, cache
        self.asked: list[tuple[str, str | None]] = []
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot_download)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", self.model_info)

    def model_info(self, repository: str, *, revision: str | None = None) -> object:
        self.asked.append((repository, revision))
        return huggingface_hub.ModelInfo(id=repository, sha=SHA, tags=[])

    def snapshot_download(self, repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        from fnmatch import fnmatch

        assert revision == SHA, "everything is fetched at the pinned commit"
        snapshot = self.cache / "snapshots" / SHA
        (self.cache / "blobs").mkdir(parents=True, exist_ok=True)
        snapshot.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(sorted(self.content.iterdir())):
            target = snapshot / path.name
            if (
                path.is_file()
                and any(fnmatch(path.name, pattern) for pattern in allow_patterns)
                and not target.exists()
            ):
                blob = self.cache / "blobs" / str(number)
                shutil.copyfile(path, blob)
                target.symlink_to(blob)
        return str(snapshot)


def test_a_repository_is_pinned_to_the_commit_that_main_is_now(
    other: Registry, make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_checkpoint(README__md="---\nlicense: llama3.2\n---\n", train__py="import os")
    hub = FakeHub(folder, tmp_path / "cache", monkeypatch)
    imported = import_checkpoint(other, "org/model", "mine")
    assert hub.asked == [("org/model", None)]
    assert imported.source is not None and imported.source.commit == SHA
    provenance = imported.version.manifest.provenance
    assert provenance == Provenance(parents=(Parent(role="init", ref="org/model", revision=SHA),), licence="llama3.2")
    assert other.tags("mine") == {"hub": f"org/model@{SHA}"}
    assert "train.py" not in [entry.path for entry in imported.version.manifest.files]


def test_an_exported_version_comes_back_from_the_hub_as_what_it_was(
    other: Registry, exported: Path, student: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = FakeHub(exported, tmp_path / "cache", monkeypatch)
    imported = import_checkpoint(other, "me/Llama-student@v1")
    assert hub.asked == [("me/Llama-student", "v1")]
    assert imported.version.digest == student.digest
    assert other.tags("student")["hub"] == f"me/Llama-student@{SHA}"


def test_without_the_hub_an_import_says_what_to_do(other: Registry) -> None:
    with pytest.raises(CheckpointError, match="Hub"):
        import_checkpoint(other, "org/model", "mine")
