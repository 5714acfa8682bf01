"""Digests: equal for equal checkpoints, different for everything that could change a result."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from timetrial_registry import CheckpointError, checkpoint_digest, file_digest

FILES = {
    "config.json": '{"model_type": "llama"}',
    "generation_config.json": "{}",
    "model.safetensors": "weights",
    "tokenizer.json": "tokens",
    "README.md": "words",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_text(content)
    return folder


def test_a_files_digest_is_its_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "x").write_bytes(content)
    assert file_digest(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_a_checkpoints_digest_is_the_sha256_of_its_manifest(folder: Path) -> None:
    names = sorted(set(FILES) - {"README.md"})
    manifest = "".join(f"{hashlib.sha256(FILES[name].encode()).hexdigest()}  {name}\n" for name in names)
    assert checkpoint_digest(folder) == hashlib.sha256(manifest.encode()).hexdigest()


def test_neither_place_nor_bystanders_nor_unused_weights_matter(folder: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    (twin / "README.md").unlink()
    (twin / "training.log").write_text("loss")
    (twin / "pytorch_model.bin").write_text("the same weights, pickled, and not used")
    assert checkpoint_digest(twin) == checkpoint_digest(folder)


@pytest.mark.parametrize("name", [name for name in FILES if name != "README.md"])
def test_every_file_that_makes_the_model_matters(folder: Path, name: str) -> None:
    before = checkpoint_digest(folder)
    (folder / name).write_text(FILES[name] + " ")
    assert checkpoint_digest(folder) != before


def test_a_new_chat_template_is_another_checkpoint(folder: Path) -> None:
    before = checkpoint_digest(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert checkpoint_digest(folder) != before


def test_what_is_no_checkpoint_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        checkpoint_digest(tmp_path)
