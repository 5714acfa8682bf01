"""What of a folder is published, what is left out, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from timetrial_registry import CheckpointError
from timetrial_registry.contents import media_type, read_contents
from timetrial_registry.paths import check_path

from .conftest import TENSORS, write_checkpoint, write_safetensors


def published(folder: Path) -> list[str]:
    return [file.path for file in read_contents(folder).files]


def test_files_of_subfolders_are_published_by_their_relative_paths(make_checkpoint):
    folder = make_checkpoint(README__md="hello")
    (folder / "extra" / "deep").mkdir(parents=True)
    (folder / "extra" / "deep" / "notes.txt").write_text("x")
    files = ["README.md", "config.json", "extra/deep/notes.txt", "model.safetensors", "tokenizer.json"]
    assert published(folder) == files


def test_hidden_files_pickles_and_caches_are_left_out_with_the_reason(make_checkpoint):
    folder = make_checkpoint(
        optimizer__pt="x",
        training_args__bin="x",
    )
    (folder / ".gitattributes").write_text("x")
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "x.json").write_text("x")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("x")
    left_out = {file.path: file.reason for file in read_contents(folder).left_out}
    assert left_out == {
        ".cache": "hidden",
        ".gitattributes": "hidden",
        "__pycache__/x.pyc": "made by Python",
        "optimizer.pt": "may run code when loaded",
        "training_args.bin": "may run code when loaded",
    }
    assert published(folder) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_pickled_weights_are_refused_unless_converted(make_checkpoint):
    folder = make_checkpoint(pytorch_model__bin="x")
    assert "pytorch_model.bin" not in published(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin, which may run code.*Convert it to safetensors"):
        read_contents(folder)


def test_a_pickle_under_another_name_is_refused(make_checkpoint):
    folder = make_checkpoint()
    (folder / "vocab.txt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=r"vocab\.txt is a pickle by its content"):
        read_contents(folder)


def test_a_torch_archive_under_another_name_is_refused_and_another_archive_is_not(make_checkpoint):
    folder = make_checkpoint()
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    assert "more.zip" in published(folder)
    with zipfile.ZipFile(folder / "more.zip", "a") as archive:
        archive.writestr("archive/data.pkl", "x")
    with pytest.raises(CheckpointError, match=r"more\.zip is a pickle by its content"):
        read_contents(folder)


def test_a_link_within_the_folder_is_published_as_a_file(make_checkpoint):
    folder = make_checkpoint()
    (folder / "linked.json").symlink_to("config.json")
    assert "linked.json" in published(folder)


def test_links_that_lead_out_are_refused(make_checkpoint, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (make_checkpoint("one") / "a.json").symlink_to(secret)
    (make_checkpoint("two") / "a").symlink_to(tmp_path)
    for name in ("one", "two"):
        with pytest.raises(CheckpointError, match="is a link that leads out of the folder"):
            read_contents(tmp_path / "sources" / name)


def test_a_snapshot_of_the_hubs_cache_is_made_of_links_and_can_be_published(tmp_path):
    blobs, snapshot = tmp_path / "models--org--name" / "blobs", tmp_path / "models--org--name" / "snapshots" / "abc"
    write_checkpoint(blobs)
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    assert published(snapshot) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("make", ["fifo", "dangling"])
def test_what_is_no_file_is_refused(make_checkpoint, make):
    folder = make_checkpoint()
    if make == "fifo":
        os.mkfifo(folder / "pipe")
    else:
        (folder / "pipe").symlink_to("nowhere")
    with pytest.raises(CheckpointError, match="pipe is no file"):
        read_contents(folder)


@pytest.mark.parametrize("name", ["a\\b", "a:b", "line\nbreak", "star*", " lead", "trail ", "x" * 256])
def test_names_that_some_system_reads_otherwise_are_refused(make_checkpoint, name):
    folder = make_checkpoint()
    try:
        (folder / name).write_text("x")
    except OSError:
        pytest.skip("this system refuses it itself")
    with pytest.raises(CheckpointError, match="may not hold a file"):
        read_contents(folder)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".", "C:/x", "a/.", "~:x", "a\x00b"])
def test_paths_with_tricks_are_refused(path):
    with pytest.raises(CheckpointError, match="may not hold a file"):
        check_path(path)


def test_two_names_that_are_one_on_some_systems_are_refused(make_checkpoint):
    folder = make_checkpoint(readme__md="x")
    (folder / "README.md").write_text("y")
    if len(list(folder.glob("*.md"))) == 1:
        pytest.skip("they are one here")
    with pytest.raises(CheckpointError, match="one file on some systems"):
        read_contents(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_without_config_or_weights_is_no_checkpoint(make_checkpoint, name):
    folder = make_checkpoint()
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        read_contents(folder)


def test_a_file_cut_short_is_refused(make_checkpoint):
    weights = make_checkpoint() / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        read_contents(weights.parent)


def write_shards(folder: Path, weight_map: dict[str, str]) -> None:
    (folder / "model.safetensors").unlink()
    for number, name in enumerate(TENSORS):
        write_safetensors(folder / f"model-{number}.safetensors", {name: TENSORS[name]})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_must_hold_what_their_index_says(make_checkpoint):
    folder = make_checkpoint()
    weight_map = {name: f"model-{number}.safetensors" for number, name in enumerate(TENSORS)}
    write_shards(folder, weight_map)
    assert len(read_contents(folder).weights) == len(TENSORS)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {**weight_map, "missing": "model-0.safetensors"}})
    )
    with pytest.raises(CheckpointError, match="index says that model-0.safetensors holds a tensor 'missing'"):
        read_contents(folder)


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors"])
def test_an_index_that_leads_out_is_refused(make_checkpoint, shard):
    folder = make_checkpoint()
    write_safetensors(folder.parent / "secret.safetensors")
    write_shards(folder, {"lm_head": shard})
    with pytest.raises(CheckpointError, match="lacks 1 of the 1 files"):
        read_contents(folder)


def test_media_types_do_not_depend_on_the_system():
    assert media_type("a/model.safetensors") == "application/vnd.cncf.model.weight.v1.safetensors"
    assert [media_type(name) for name in ("x.json", "x.md", "x")] == [
        "application/json",
        "text/markdown",
        "application/octet-stream",
    ]
