"""Checkpoint folders made byte by byte, without any library that reads them, and a registry to publish them to."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from timetrial_registry import Provenance, Registry

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name -> (dtype as safetensors spells it, shape)."""
BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "U8": 1, "F8_E4M3": 1}
TENSORS: Tensors = {"model.norm": ("BF16", (8,)), "lm_head": ("F32", (4, 8)), "model.empty": ("F16", (0, 3))}


def tensor_bytes(name: str, dtype: str, shape: tuple[int, ...], seed: int = 0) -> bytes:
    size = BYTES[dtype] * math.prod(shape)
    return bytes((seed + len(name) + position) % 251 for position in range(size))


def write_safetensors(path: Path, tensors: Tensors = TENSORS, *, seed: int = 0, metadata: dict | None = None) -> Path:
    """Write a file in the order the tensors are given in."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, (dtype, shape) in tensors.items():
        content = tensor_bytes(name, dtype, shape, seed)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def write_checkpoint(folder: Path, *, seed: int = 0, **files: str) -> Path:
    """Write a folder with config, weights, tokenizer and more files of the given text (`a__b` is `a.b`)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": 8}')
    (folder / "tokenizer.json").write_text("{}")
    write_safetensors(folder / "model.safetensors", seed=seed)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "checkpoint", **options: object) -> Path:
        return write_checkpoint(tmp_path / "sources" / name, **options)

    return make


@pytest.fixture(scope="session")
def three_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a registry with three versions of one model, to be copied: publishing takes longer."""
    place = tmp_path_factory.mktemp("three_versions")
    registry = Registry(place / "registry")
    for seed in range(3):
        registry.publish("student", write_checkpoint(place / str(seed), seed=seed), Provenance(stage=f"stage-{seed}"))
    return registry.path


@pytest.fixture
def student(three_versions: Path, tmp_path: Path) -> Registry:
    """A registry with three versions of one model; the stage of each ends with the seed of its files."""
    copies: dict[int, str] = {}

    def copy(source: str, target: str) -> None:
        inode = os.stat(source).st_ino
        if inode in copies:
            os.link(copies[inode], target)
        else:
            copies[inode] = shutil.copy2(source, target)

    shutil.copytree(three_versions, tmp_path / "registry", copy_function=copy)
    return Registry(tmp_path / "registry")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")
