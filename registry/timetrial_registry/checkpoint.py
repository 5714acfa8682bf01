"""Where a checkpoint lies and which files it consists of: a folder in the Hub's layout, or a Hub id.

The layout: config.json, weights as safetensors or pytorch_model.bin (one file, or shards with an index), tokenizer
files. It does not know what the tensors mean; that is the families' business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timetrial_registry.error import CheckpointError
from timetrial_registry.hub import download

CONFIG_FILE = "config.json"
COMPANION = "mamba_config"
"""The stem of a file beside config.json that published hybrids have, and the key under which its content is given."""
TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "vocab.*",
    "merges.txt",
)
DESCRIBING_FILES = ("*config.json", *TOKENIZER_FILES)
SAFETENSORS_FILES = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
PICKLE_FILES = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
"""Patterns of the files that make a checkpoint; anything else in a folder or a repository is left alone."""

_HUB_ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_LAYOUT = "config.json with model.safetensors (or its shards and index) or pytorch_model.bin"


def resolve(location: str | Path) -> Path:
    """Return the local folder of a checkpoint, downloading it if `location` is a Hub id (org/name, org/name@revision).

    An existing folder wins over a Hub id of the same spelling.

    Raises:
        CheckpointError: neither a folder nor a Hub id, not on the Hub, not accessible, or not a checkpoint.
    """
    folder = _fetch(location, (*DESCRIBING_FILES, *SAFETENSORS_FILES))
    if not any(folder.glob(SAFETENSORS_FILES[0])) and not any(folder.glob(SAFETENSORS_FILES[-1])):
        folder = _fetch(location, (*DESCRIBING_FILES, *PICKLE_FILES))
    weight_files(folder)
    return folder


def resolve_tokenizer(location: str | Path) -> Path:
    """Return the local folder of tokenizer files, downloading them alone if `location` is a Hub id.

    Raises:
        CheckpointError: neither a folder nor a Hub id, not on the Hub, or without a tokenizer.
    """
    folder = _fetch(location, (CONFIG_FILE, *TOKENIZER_FILES))
    if not has_tokenizer(folder):
        raise CheckpointError(f"{folder} holds no tokenizer: found {_listing(folder)}; expected tokenizer.json")
    return folder


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's vocabulary."""
    return any(path.is_file() for pattern in ("tokenizer.*", "vocab.*") for path in folder.glob(pattern))


def resolve_config(location: str | Path) -> dict[str, Any]:  # Any: JSON
    """Return the parsed config of a checkpoint as `read_config` does, downloading nothing but configs.

    Raises:
        CheckpointError: neither a folder nor a Hub id, not on the Hub, or without a config.
    """
    return read_config(_fetch(location, ("*config.json",)))


def read_config(folder: Path) -> dict[str, Any]:  # Any: JSON
    """Return the parsed config.json of a checkpoint folder, with mamba_config.json in it if there is one.

    Raises:
        CheckpointError: it is missing, or one of the two is no JSON object.
    """
    config = _read_object(folder / CONFIG_FILE, folder)
    companion = folder / f"{COMPANION}.json"
    return {**config, COMPANION: _read_object(companion, folder)} if companion.is_file() else config


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that hold the tensors, safetensors before pytorch_model.bin, all existing.

    Raises:
        CheckpointError: the folder is no checkpoint, or shards are missing.
    """
    if (folder / CONFIG_FILE).is_file():
        for whole in ("model.safetensors", "pytorch_model.bin"):
            if (folder / whole).is_file():
                return (folder / whole,)
            if (index := folder / f"{whole}.index.json").is_file():
                return _shards(index)
    raise CheckpointError(f"{folder} is no checkpoint: found {_listing(folder)}; expected {_LAYOUT}")


def _shards(index: Path) -> tuple[Path, ...]:
    """Return the shards an index file names."""
    weight_map = _read_object(index, index.parent).get("weight_map")
    if not isinstance(weight_map, Mapping) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{index} lacks a weight_map from tensor to file: it is no index of shards")
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if Path(name).name != name or not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{index.parent} lacks {len(missing)} of the {len(names)} files its index names: {', '.join(missing)}. "
            "Download or copy the checkpoint again."
        )
    return tuple(index.parent / name for name in names)


def _read_object(path: Path, folder: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        raise CheckpointError(f"{folder} is no checkpoint: found {_listing(folder)}; expected {_LAYOUT}") from cause
    except (OSError, ValueError) as cause:
        raise CheckpointError(f"{path} cannot be read as JSON ({cause})") from cause
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds a {type(data).__name__}: expected an object")
    return data


def _listing(folder: Path, limit: int = 8) -> str:
    """Name what lies in a folder, for an error message."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"


def _fetch(location: str | Path, patterns: Sequence[str]) -> Path:
    """Return an existing folder as it is, or the folder of a Hub repository's files that match."""
    folder = Path(location).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{folder} is a file: expected a checkpoint folder ({_LAYOUT})")
    hub_id = _HUB_ID.fullmatch(str(location))
    if hub_id is None:
        raise CheckpointError(
            f"no checkpoint at {str(location)!r}: expected an existing folder, or a Hub id like 'org/name' or "
            "'org/name@revision'"
        )
    return download(hub_id["repository"], hub_id["revision"], patterns)
