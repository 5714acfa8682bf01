"""Digests that tell whether two checkpoints are the same, whatever their folders are called.

A checkpoint's digest is the sha256 of a manifest: one line "<sha256 of the file>  <name>\\n" for each of its files
(config, weights in use, tokenizer), sorted by name. README, licence and other bystanders do not count.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from timetrial_registry.checkpoint import DESCRIBING_FILES, weight_files

_CHUNK_BYTES = 1 << 20


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def checkpoint_digest(folder: Path) -> str:
    """Return the sha256 of a checkpoint folder's manifest, hexadecimal.

    Raises:
        CheckpointError: the folder is no checkpoint.
    """
    files = {path.name: path for path in weight_files(folder)}
    files |= {path.name: path for pattern in DESCRIBING_FILES for path in folder.glob(pattern) if path.is_file()}
    manifest = "".join(f"{file_digest(path)}  {name}\n" for name, path in sorted(files.items()))
    return hashlib.sha256(manifest.encode()).hexdigest()
