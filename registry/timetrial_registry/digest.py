"""Digests that tell whether two checkpoints are the same, whatever their folders are called.

A checkpoint's digest is the sha256 of a manifest: one line "<sha256 of the file>  <name>\\n" for each of its files
(config, weights in use, tokenizer), sorted by name. README, licence and other bystanders do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from timetrial_registry.checkpoint import DESCRIBING_FILES, TOKENIZER_FILES, weight_files
from timetrial_registry.progress import Advance, ignore

_CHUNK_BYTES = 1 << 18


def file_digest(path: Path, advance: Advance = ignore) -> str:
    """Return the sha256 of a file's content, hexadecimal; `advance` is told of the bytes as they are read."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def checkpoint_digest(folder: Path) -> str:
    """Return the sha256 of a checkpoint folder's manifest, hexadecimal.

    Raises:
        CheckpointError: the folder is no checkpoint.
    """
    return _manifest_digest({path.name: path for path in weight_files(folder)} | _matching(folder, DESCRIBING_FILES))


def tokenizer_digest(folder: Path) -> str:
    """Return the same of a folder's tokenizer files alone, hexadecimal."""
    return _manifest_digest(_matching(folder, TOKENIZER_FILES))


def _matching(folder: Path, patterns: Sequence[str]) -> dict[str, Path]:
    return {path.name: path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}


def _manifest_digest(files: Mapping[str, Path]) -> str:
    manifest = "".join(f"{file_digest(path)}  {name}\n" for name, path in sorted(files.items()))
    return hashlib.sha256(manifest.encode()).hexdigest()
