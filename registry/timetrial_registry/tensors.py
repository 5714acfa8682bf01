"""The digest of a checkpoint's tensors: the same however they are ordered, saved or sharded. It needs no torch.

    digest = sha256 of the JSON [[name, dtype, shape, sha256 of the bytes], ...], sorted by name, without spaces

Names, dtypes (F32, BF16, ...) and the little-endian bytes are those of safetensors. Hashing each tensor apart lets
shards be read once, in file order and by several threads, and tells which tensor it is that differs.

File format: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from timetrial_registry.error import CheckpointError
from timetrial_registry.progress import Advance

_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One tensor of a safetensors file, and where its bytes are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Of its bytes in the file."""
    size: int
    """In bytes."""


def read_header(path: Path) -> tuple[Tensor, ...]:
    """Return the tensors of a safetensors file, checked by the safetensors library, in the order of the file.

    Raises:
        CheckpointError: it is not a whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):  # checks sizes, dtypes, gaps and overlaps
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError, ValueError) as cause:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({cause}). It may be cut short: copy or save it again."
        ) from cause
    header.pop("__metadata__", None)
    tensors = (_tensor(name, 8 + length, **entry) for name, entry in header.items())
    return tuple(sorted(tensors, key=lambda tensor: tensor.start))


def digest_tensors(files: Sequence[Path], executor: Executor, advance: Advance) -> str:
    """Return the digest of the tensors in safetensors files.

    Raises:
        CheckpointError: a file cannot be read, or two hold tensors of one name.
    """
    hashes = [entry for path in files for entry in start_hashing(path, executor, advance)]
    return combine(hashes)


TensorHash = tuple[Tensor, "Future[str]"]


def start_hashing(path: Path, executor: Executor, advance: Advance) -> list[TensorHash]:
    """Begin to hash the tensors of a safetensors file.

    Raises:
        CheckpointError: it cannot be read.
    """
    tensors = read_header(path)
    advance(path.stat().st_size - sum(tensor.size for tensor in tensors))  # the header is not hashed
    return [(tensor, executor.submit(_hash_bytes, path, tensor, advance)) for tensor in tensors]


def combine(hashes: Iterable[TensorHash]) -> str:
    """Return the digest of tensors from the hashes of all of them.

    Raises:
        CheckpointError: two have one name.
    """
    rows = sorted([tensor.name, tensor.dtype, list(tensor.shape), future.result()] for tensor, future in hashes)
    for first, second in zip(rows, rows[1:], strict=False):
        if first[0] == second[0]:
            raise CheckpointError(f"two weight files hold a tensor {first[0]!r}: nobody can tell which one counts")
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def _tensor(name: str, origin: int, *, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    start, end = data_offsets
    return Tensor(name=name, dtype=dtype, shape=tuple(shape), start=origin + start, size=end - start)


def _hash_bytes(path: Path, tensor: Tensor, advance: Advance) -> str:
    digest = hashlib.sha256()
    left = tensor.size
    with path.open("rb", buffering=0) as file:
        file.seek(tensor.start)
        while left:
            chunk = file.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise CheckpointError(f"{path} ends within the tensor {tensor.name!r}")
            digest.update(chunk)
            left -= len(chunk)
            advance(len(chunk))
    return digest.hexdigest()
