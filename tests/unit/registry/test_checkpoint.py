"""Resolving references: folders, Hub ids, and every way in which there is no checkpoint behind one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors

from timetrial_registry import CheckpointError, read_config, resolve, weight_files

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    def make(*names: str, config: str | None = '{"model_type": "llama"}') -> Path:
        folder = tmp_path / "a" / "checkpoint"
        folder.mkdir(parents=True)
        if config is not None:
            (folder / "config.json").write_text(config)
        for name in names:
            (folder / name).write_text("")
        return folder

    return make


def write_index(folder: Path, weight_map: object, name: str = "model.safetensors") -> None:
    (folder / f"{name}.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_with_config_and_weights_is_itself(make_folder: MakeFolder, name: str) -> None:
    folder = make_folder(name)
    assert resolve(folder) == resolve(str(folder)) == folder
    assert weight_files(folder) == (folder / name,)


def test_safetensors_win_over_pickled_tensors(make_folder: MakeFolder) -> None:
    folder = make_folder("model-00001-of-00001.safetensors", "pytorch_model.bin")
    assert weight_files(folder) == (folder / "pytorch_model.bin",), "a shard without an index is no weight file"
    (folder / "model.safetensors").write_text("")
    assert weight_files(folder) == (folder / "model.safetensors",)


@pytest.mark.parametrize("whole", ["model.safetensors", "pytorch_model.bin"])
def test_the_files_of_an_index_are_found(make_folder: MakeFolder, whole: str) -> None:
    folder = make_folder("part-2", "part-1")
    write_index(folder, {"a": "part-2", "b": "part-1", "c": "part-2"}, whole)
    assert weight_files(folder) == (folder / "part-1", folder / "part-2")


def test_missing_shards_are_all_named(make_folder: MakeFolder) -> None:
    folder = make_folder("part-2")
    write_index(folder, {"a": "part-1", "b": "part-2", "c": "part-3"})
    with pytest.raises(CheckpointError, match="lacks 2 of the 3 files.*part-1, part-3"):
        resolve(folder)


def test_an_index_cannot_point_out_of_the_folder(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder.parent / "secret").write_text("")
    write_index(folder, {"a": "../secret"})
    with pytest.raises(CheckpointError, match=r"\.\./secret"):
        weight_files(folder)


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": ["a"]}', '{"weight_map": {"a": 3}}', "{"])
def test_a_broken_index_is_named(make_folder: MakeFolder, index: str) -> None:
    folder = make_folder()
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        weight_files(folder)


def test_a_folder_that_is_no_checkpoint_says_what_was_found_and_what_was_expected(make_folder: MakeFolder) -> None:
    folder = make_folder("notes.txt", "adapter_model.safetensors", config=None)
    with pytest.raises(CheckpointError) as caught:
        resolve(folder)
    message = str(caught.value)
    assert "found adapter_model.safetensors, notes.txt" in message and "expected config.json with model" in message
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="found adapter_model.safetensors, config.json, notes.txt"):
        resolve(folder)


def test_an_empty_and_a_crowded_folder_are_described_briefly(make_folder: MakeFolder) -> None:
    folder = make_folder(config=None)
    with pytest.raises(CheckpointError, match="found nothing"):
        resolve(folder)
    for i in range(20):
        (folder / f"{i:02}").write_text("")
    with pytest.raises(CheckpointError, match="07 and 12 more"):
        resolve(folder)


@pytest.mark.parametrize("location", ["/no/such/folder", "./missing", "nothing", "a/b/c", "org/name@", ""])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused_without_asking_the_hub(location: str) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at|found"):
        resolve(location)


def test_a_file_is_not_a_folder(make_folder: MakeFolder) -> None:
    folder = make_folder("model.safetensors")
    with pytest.raises(CheckpointError, match="is a file: expected a checkpoint folder"):
        resolve(folder / "model.safetensors")


@pytest.mark.parametrize(("config", "message"), [("[1]", "holds a list"), ("{", "cannot be read as JSON")])
def test_a_config_that_is_no_json_object_is_refused(make_folder: MakeFolder, config: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_config(make_folder(config=config))


def test_a_config_is_read(make_folder: MakeFolder) -> None:
    assert read_config(make_folder()) == {"model_type": "llama"}


def test_the_config_of_a_hybrid_holds_the_file_beside_it(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "mamba_config.json").write_text('{"attn_layers": [3]}')
    assert read_config(folder) == {"model_type": "llama", "mamba_config": {"attn_layers": [3]}}
    for damaged, message in (("{", "cannot be read as JSON"), ("[]", "holds a list")):
        (folder / "mamba_config.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=rf"mamba_config\.json {message}"):
            read_config(folder)


def test_a_missing_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found nothing; expected config.json"):
        read_config(tmp_path)


class FakeHub:
    """Stands in for the Hub: copies the repository's matching files into a folder, as a snapshot."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.folder, self.files = folder, files
        self.asked: list[tuple[str, str | None]] = []

    def snapshot_download(self, repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.asked.append((repository, revision))
        for name in huggingface_hub.utils.filter_repo_objects(self.files, allow_patterns=allow_patterns):
            (self.folder / name).write_text(self.files[name])
        return str(self.folder)


@pytest.fixture
def use_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeHub]:
    def use(*names: str) -> FakeHub:
        hub = FakeHub(tmp_path, {name: "{}" for name in names})
        monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
        return hub

    return use


def test_a_hub_id_downloads_safetensors_and_leaves_the_rest(use_hub: Callable[..., FakeHub]) -> None:
    files = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    hub = use_hub(*files, "pytorch_model.bin", "original.pth", "README.md", "modeling_evil.py")
    folder = resolve("org/name")
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)
    assert hub.asked == [("org/name", None)]


def test_a_hub_repository_without_safetensors_gives_its_pickled_tensors(use_hub: Callable[..., FakeHub]) -> None:
    hub = use_hub("config.json", "pytorch_model.bin", "tokenizer.json")
    folder = resolve("org/name@v1.0")
    assert weight_files(folder) == (folder / "pytorch_model.bin",)
    assert hub.asked == [("org/name", "v1.0")] * 2


def test_a_hub_repository_that_is_no_checkpoint_is_refused(use_hub: Callable[..., FakeHub]) -> None:
    use_hub("config.json", "weights.gguf")
    with pytest.raises(CheckpointError, match="found config.json; expected"):
        resolve("org/name")


RESPONSE = SimpleNamespace(headers={}, request=None)


@pytest.mark.parametrize(("failure", "message"), [
    (errors.GatedRepoError("403", response=RESPONSE), "access is restricted.*licence.*hf auth login"),
    (errors.RepositoryNotFoundError("404", response=RESPONSE), "no such folder here, and on the Hub there is no such"),
    (errors.RevisionNotFoundError("404", response=RESPONSE), "no revision 'v9'"),
    (errors.HFValidationError("too long"), "valid Hub id.*too long"),
    (errors.LocalEntryNotFoundError("offline"), "Hub cannot be reached.*give the folder"),
    (errors.HfHubHTTPError("500", response=RESPONSE), "failed: 500"),
    (OSError(28, "No space left on device"), "No space left"),
    (ConnectionResetError("while reading"), "failed: while reading"),
])  # fmt: skip
def test_every_failure_of_the_hub_is_a_checkpoint_error(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, message: str
) -> None:
    def fail(*args: object, **options: object) -> str:
        raise failure

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=message):
        resolve("org/name@v9")


def test_offline_a_repository_that_was_never_downloaded_is_a_checkpoint_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="not in the local Hub cache"):
        resolve("org/surely-not-there")


def test_an_existing_folder_wins_over_a_hub_id(
    make_folder: MakeFolder, use_hub: Callable[..., FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder("model.safetensors")
    hub = use_hub("config.json")
    monkeypatch.chdir(folder.parent.parent)
    assert resolve("a/checkpoint").resolve() == folder.resolve() and hub.asked == []
