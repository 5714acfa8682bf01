"""The tensor digest: the same for the same tensors however they are saved, another for any difference."""

from __future__ import annotations

import json
import struct
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from timetrial_registry import CheckpointError
from timetrial_registry.tensors import digest_tensors, read_header

from .conftest import TENSORS, tensor_bytes, write_safetensors


def digest(*files: Path) -> str:
    with ThreadPoolExecutor(2) as executor:
        return digest_tensors(files, executor, lambda count: None)


def test_the_digest_is_the_hash_of_names_dtypes_shapes_and_hashes(tmp_path):
    rows = [
        [name, dtype, list(shape), sha256(tensor_bytes(name, dtype, shape)).hexdigest()]
        for name, (dtype, shape) in sorted(TENSORS.items())
    ]
    expected = sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
    assert digest(write_safetensors(tmp_path / "a.safetensors")) == expected


def test_the_digest_is_the_same_in_another_order_with_other_metadata_and_in_shards(tmp_path):
    whole = digest(write_safetensors(tmp_path / "whole.safetensors"))
    reverse = dict(reversed(TENSORS.items()))
    metadata = {str(number): "x" * number for number in range(6)}
    assert digest(write_safetensors(tmp_path / "other.safetensors", reverse, metadata=metadata)) == whole
    shards = [
        write_safetensors(tmp_path / f"{number}.safetensors", {name: TENSORS[name]})
        for number, name in enumerate(TENSORS)
    ]
    assert digest(*shards) == digest(*reversed(shards)) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"model.norm": ("F16", (8,))},
        {"model.norm": ("BF16", (4, 2))},
        {"model.norm": ("BF16", (9,))},
        {"more": ("U8", (1,))},
        {"more": ("U8", (0,))},
    ],
    ids=["dtype", "shape", "size", "another", "another-empty"],
)
def test_any_difference_gives_another_digest(tmp_path, change):
    one = write_safetensors(tmp_path / "one.safetensors")
    assert digest(write_safetensors(tmp_path / "two.safetensors", {**TENSORS, **change})) != digest(one)


def test_one_flipped_bit_gives_another_digest(tmp_path):
    one, two = write_safetensors(tmp_path / "one.safetensors"), write_safetensors(tmp_path / "two.safetensors")
    content = bytearray(two.read_bytes())
    content[-1] ^= 1
    two.write_bytes(content)
    assert digest(one) != digest(two)


def test_what_the_safetensors_library_saves_has_the_digest_of_its_arrays(tmp_path):
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    save_file({"w": array}, tmp_path / "saved.safetensors", metadata={"a": "1", "b": "2", "c": "3", "d": "4"})
    row = ["w", "F32", [2, 3], sha256(array.tobytes()).hexdigest()]
    assert (
        digest(tmp_path / "saved.safetensors") == sha256(json.dumps([row], separators=(",", ":")).encode()).hexdigest()
    )


def test_two_files_with_one_name_are_refused(tmp_path):
    files = [write_safetensors(tmp_path / f"{number}.safetensors") for number in range(2)]
    with pytest.raises(CheckpointError, match="two weight files hold a tensor 'lm_head'"):
        digest(*files)


def header(**tensors: object) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        struct.pack("<Q", 1 << 40),
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 2) + b"[]",
        header(w={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}),
        header(w={"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}) + bytes(8),
        header(w={"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}) + bytes(12),
        header(w={"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}) + bytes(8),
        header(w={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}) + bytes(9),
    ],
    ids=["empty", "short", "huge", "no-json", "list", "cut", "size", "gap", "dtype", "trailing"],
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.safetensors cannot be read as safetensors"):
        read_header(path)
