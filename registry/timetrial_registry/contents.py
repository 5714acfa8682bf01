"""Which files of a folder make a version, and what is refused: pickles, links that lead out, names with tricks."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from timetrial_registry.checkpoint import weight_files
from timetrial_registry.error import CheckpointError
from timetrial_registry.paths import check_path
from timetrial_registry.tensors import read_header

SAFETENSORS = ".safetensors"
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
"""Suffixes of files that may run code when they are loaded."""
_PICKLE_PROTOCOLS = frozenset(bytes((0x80, number)) for number in range(2, 6))
_MEDIA_TYPES = {
    ".json": "application/json",
    ".md": "text/markdown",
    ".safetensors": "application/vnd.cncf.model.weight.v1.safetensors",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
"""Fixed, since the system's own table would give a file another digest on another machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file to publish."""

    path: str
    """Relative to the folder, with forward slashes."""
    source: Path
    size: int
    """In bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A file of the folder that is not published, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a folder has to publish."""

    folder: Path
    weights: tuple[Path, ...]
    """The files that hold the tensors."""
    files: tuple[SourceFile, ...]
    """Sorted by path."""
    left_out: tuple[LeftOut, ...]

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def weights_size(self) -> int:
        """Of the files that hold the tensors, in bytes."""
        return sum(path.stat().st_size for path in self.weights)


def read_contents(folder: Path) -> Contents:
    """Decide on each file of a checkpoint folder. Pickles and hidden files are left out; the weights must do without.

    Raises:
        CheckpointError: no checkpoint with safetensors weights, or a file that must not be published.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder: expected one with config.json and safetensors weights")
    weights = check_weights(folder)
    files: list[SourceFile] = []
    left_out: list[LeftOut] = []
    for path, source in sorted(_walk(folder)):
        reason = _reason_to_leave_out(path)
        if reason:
            left_out.append(LeftOut(path=path, reason=reason))
        else:
            files.append(_source_file(folder, check_path(path), source))
    _refuse_names_that_differ_in_case(folder, files)
    return Contents(folder=folder, weights=weights, files=tuple(files), left_out=tuple(left_out))


def check_weights(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files that hold a checkpoint's weights, each of them readable and none missing.

    Raises:
        CheckpointError: no checkpoint, pickled weights, or an index that its shards contradict.
    """
    files = weight_files(folder)
    pickled = [path.name for path in files if path.suffix != SAFETENSORS]
    if pickled:
        raise CheckpointError(
            f"{folder} holds its weights as {', '.join(pickled)}, which may run code when loaded. Convert it to "
            "safetensors first: `timetrial convert`, or save_pretrained of transformers."
        )
    held = {tensor.name: path.name for path in files for tensor in read_header(path)}
    for name, shard in _weight_map(folder, files).items():
        if held.get(name) != shard:
            raise CheckpointError(f"{folder}: the index says that {shard} holds a tensor {name!r}, but it does not")
    return files


def media_type(path: str) -> str:
    """Return what kind of content a file has, by its suffix."""
    return _MEDIA_TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file below a folder with its relative path; hidden folders as a whole."""
    for place, folders, names in os.walk(folder, onerror=_raise):
        here = Path(place)
        for name in list(folders):
            if name.startswith(".") or (here / name).is_symlink():
                folders.remove(name)
                names.append(name)
        yield from ((here.joinpath(name).relative_to(folder).as_posix(), here / name) for name in names)


def _raise(error: OSError) -> None:
    raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}") from error


def _reason_to_leave_out(path: str) -> str | None:
    parts = PurePosixPath(path)
    if any(part.startswith(".") for part in parts.parts):
        return "hidden"
    if "__pycache__" in parts.parts:
        return "made by Python"
    return "may run code when loaded" if parts.suffix.lower() in PICKLES else None


def _source_file(folder: Path, path: str, source: Path) -> SourceFile:
    target = source.resolve()
    if source.is_symlink() and not _is_within(target, folder.resolve()):
        raise CheckpointError(
            f"{source} is a link that leads out of the folder, to {target}. Put the file itself there."
        )
    status = target.stat() if target.exists() else None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{source} is no file: expected files and folders only. Remove it.")
    if target.suffix != SAFETENSORS and _is_pickle(target):
        raise CheckpointError(f"{source} is a pickle by its content, which may run code when loaded. Remove it.")
    return SourceFile(path=path, source=target, size=status.st_size)


def _is_within(target: Path, folder: Path) -> bool:
    """Whether a link stays in its folder, or leads where the Hub's cache keeps the files of a snapshot."""
    blobs = folder.parent.parent / "blobs"
    return folder in target.parents or (folder.parent.name == "snapshots" and target.parent == blobs)


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] in _PICKLE_PROTOCOLS:
        return True
    if start != b"PK\x03\x04":
        return False
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:  # as torch.save writes it
            return any(PurePosixPath(name).name == "data.pkl" for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _refuse_names_that_differ_in_case(folder: Path, files: list[SourceFile]) -> None:
    by_lower: dict[str, str] = {}
    for file in files:
        other = by_lower.setdefault(file.path.lower(), file.path)
        if other != file.path:
            raise CheckpointError(f"{folder} holds {other!r} and {file.path!r}, one file on some systems. Rename one.")


def _weight_map(folder: Path, files: tuple[Path, ...]) -> dict[str, str]:
    """Return the index of shards, if the weights have one; `weight_files` has checked its form."""
    if files == (folder / f"model{SAFETENSORS}",):
        return {}
    index = json.loads((folder / f"model{SAFETENSORS}.index.json").read_text(encoding="utf-8"))
    weight_map: dict[str, str] = index["weight_map"]
    return weight_map
