"""What goes to the Hub, and what a Llama licence keeps from it. The Hub is a fake at the library's own boundary."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from timetrial_registry import Registry
from timetrial_registry.error import CheckpointError, RegistryError
from timetrial_registry.export import Export, ExportOptions, export_version
from timetrial_registry.pushing import push_export
from timetrial_registry.records import Version

from .conftest import LLAMA_TEXT

OID = "fedcba9876543210fedcba9876543210fedcba98"


class FakeHub:
    """Repositories by name, True for private ones, and what was uploaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.private: dict[str, bool] = {}
        self.uploads: list[tuple[str, set[str], str]] = []
        for name in ("model_info", "create_repo", "upload_folder"):
            monkeypatch.setattr(huggingface_hub.HfApi, name, getattr(self, name))

    def model_info(self, repository: str, **options: Any) -> Any:
        if repository not in self.private:
            raise RepositoryNotFoundError("no such repository", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]
        return SimpleNamespace(private=self.private[repository], sha=OID)

    def create_repo(self, repository: str, *, private: bool) -> None:
        assert repository not in self.private
        self.private[repository] = private

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str, delete_patterns: list[str]) -> Any:
        assert {"*.safetensors", "*.safetensors.index.json"} <= set(delete_patterns), "old shards must go"
        paths = {path.relative_to(folder_path).as_posix() for path in folder_path.rglob("*") if path.is_file()}
        self.uploads.append((repo_id, paths, commit_message))
        return SimpleNamespace(oid=OID, commit_url=f"https://huggingface.co/{repo_id}/commit/{OID}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    return FakeHub(monkeypatch)


@pytest.fixture
def export(registry: Registry, student: Version, tmp_path: Path) -> Export:
    """A Llama derivative with the licence's text."""
    text = tmp_path / "agreement"
    text.write_text(LLAMA_TEXT)
    return export_version(registry, student, tmp_path / "out", ExportOptions(agreement=text))


def test_a_push_uploads_the_whole_folder_and_notes_the_commit(registry: Registry, export: Export, hub: FakeHub) -> None:
    pushed = push_export(registry, export, "me/anything")
    assert (pushed.commit, pushed.visibility) == (OID, "private") and hub.private == {"me/anything": True}
    ((repository, paths, message),) = hub.uploads
    assert repository == "me/anything" and paths == set(export.files) and "student@1" in message
    assert registry.tags("student")["hub"] == f"me/anything@{OID}"
    assert [event.detail for event in registry.events("student") if event.kind == "pushed"] == [
        f"to me/anything@{OID}, private"
    ]


def test_a_public_push_of_a_llama_derivative_needs_its_name(registry: Registry, export: Export, hub: FakeHub) -> None:
    with pytest.raises(RegistryError, match="begin with 'Llama', and 'MambaInLlama-1B' does not. Push to Llama-Mamba"):
        push_export(registry, export, "me/MambaInLlama-1B", visibility="public")
    assert hub.uploads == [] and hub.private == {} and "hub" not in registry.tags("student")
    push_export(registry, export, "me/Llama-3.2-MambaInLlama-1B", visibility="public")
    push_export(registry, export, "me/MambaInLlama-1B", visibility="public", allow_any_name=True)
    assert hub.private == {"me/Llama-3.2-MambaInLlama-1B": False, "me/MambaInLlama-1B": False}


def test_a_public_push_needs_the_text_of_the_licence_and_no_flag_helps(
    registry: Registry, student: Version, hub: FakeHub, tmp_path: Path
) -> None:
    bare = export_version(registry, student, tmp_path / "bare")
    with pytest.raises(RegistryError, match="export again with --licence-file"):
        push_export(registry, bare, "me/Llama-student", visibility="public", allow_any_name=True)
    assert hub.uploads == []
    assert push_export(registry, bare, "me/Llama-student").visibility == "private"


def test_a_version_under_a_free_licence_is_pushed_under_any_name(
    registry: Registry, free: Version, hub: FakeHub, tmp_path: Path
) -> None:
    push_export(registry, export_version(registry, free, tmp_path / "out"), "me/anything", visibility="public")
    assert hub.private == {"me/anything": False}


@pytest.mark.parametrize(("is_private", "wanted"), [(False, "private"), (True, "public")])
def test_a_repository_that_others_can_or_cannot_see_against_the_wish_is_left_alone(
    registry: Registry, free: Version, hub: FakeHub, tmp_path: Path, is_private: bool, wanted: Any
) -> None:
    hub.private["me/there"] = is_private
    exported = export_version(registry, free, tmp_path / "out")
    with pytest.raises(RegistryError, match=f"exists on the Hub and is .*not {wanted}"):
        push_export(registry, exported, "me/there", visibility=wanted)
    assert hub.uploads == []


def test_what_goes_wrong_on_the_way_is_said_in_our_words(
    registry: Registry, export: Export, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, **options: Any) -> Any:
        raise OSError("the line is dead")

    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", fail)
    with pytest.raises(CheckpointError, match="pushing to 'me/x' on the Hub failed: the line is dead"):
        push_export(registry, export, "me/x")
    assert "hub" not in registry.tags("student")


def test_a_shipped_version_is_pushed_without_a_note(export: Export, hub: FakeHub) -> None:
    assert push_export(None, export, "me/x").commit == OID
