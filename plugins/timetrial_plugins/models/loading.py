"""Read a checkpoint's tensors into a module: safetensors or pickled tensors, one file or shards, never code.

Everything is compared before anything is read, so one error lists all that does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from timetrial.error import CheckpointError
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.layouts import StoredInParts, in_parts
from timetrial_registry.checkpoint import weight_files


class TensorFile(Protocol):
    """A file of named tensors that are read one by one."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor in the file."""
        ...

    def read(self, name: str) -> Tensor:
        """Read one tensor."""
        ...


class SafetensorsFile:
    """A .safetensors file."""

    def __init__(self, path: Path) -> None:
        self._file: Any = safe_open(path, framework="pt")  # Any: safetensors ships no types

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor in the file."""
        return {name: tuple(self._file.get_slice(name).get_shape()) for name in self._file.keys()}

    def read(self, name: str) -> Tensor:
        """Read one tensor."""
        tensor: Tensor = self._file.get_tensor(name)
        return tensor


class PickleFile:
    """A pytorch_model.bin, unpickled under `weights_only`: tensors, and nothing that runs."""

    def __init__(self, path: Path) -> None:
        self._tensors = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(self._tensors, Mapping) or not all(isinstance(t, Tensor) for t in self._tensors.values()):
            raise ValueError("it holds something else than a mapping from names to tensors")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor in the file."""
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def read(self, name: str) -> Tensor:
        """Return one tensor."""
        tensor: Tensor = self._tensors[name]
        return tensor


def load_weights(module: CausalModule[Any], folder: Path, *, device: torch.device, dtype: torch.dtype) -> None:
    """Fill a module that was built on the meta device with the tensors of a checkpoint folder.

    Args:
        module: its parameters have the names of the checkpoint's tensors, or are made of several of them; it ends up
            on `device`, of type `dtype`.
        folder: a checkpoint folder.
        device: where the parameters are put.
        dtype: what they are cast to.

    Raises:
        CheckpointError: a file cannot be read, or tensors are missing, unexpected or of the wrong shape (all listed).
    """
    files = _files(folder)
    found = _checked(module, folder, files)
    module.to(dtype).to_empty(device=device)
    targets = _targets(module, found)
    for file in files:
        for name in file.shapes().keys() & found.keys():
            targets[name].copy_(file.read(name))


def check_tensors(module: CausalModule[Any], folder: Path) -> None:  # Any: any family's state
    """Compare a checkpoint's tensors with a module, which may be on the meta device.

    Raises:
        CheckpointError: tensors are missing, unexpected or of the wrong shape (all listed).
    """
    _checked(module, folder, _files(folder))


def read_tensors(folder: Path, wanted: str = r".*") -> dict[str, Tensor]:
    """Return the tensors of a checkpoint folder whose names a regular expression matches, as they are stored.

    Raises:
        CheckpointError: a file cannot be read.
    """
    return {name: file.read(name) for file in _files(folder) for name in file.shapes() if re.fullmatch(wanted, name)}


def _files(folder: Path) -> list[TensorFile]:
    return [_open(path) for path in weight_files(folder)]


def _checked(
    module: CausalModule[Any], folder: Path, files: Iterable[TensorFile]
) -> dict[str, tuple[int, ...]]:  # Any: any family's state
    """Return the shapes of the tensors that the module needs, by the checkpoint's names."""
    found = {name: shape for file in files for name, shape in file.shapes().items()}
    for name in [name for name in found if any(re.fullmatch(pattern, name) for pattern in module.redundant_tensors)]:
        del found[name]
    _compare(folder, {name: tuple(target.shape) for name, target in _targets(module, found).items()}, found)
    return found


def _targets(module: CausalModule[Any], names: Collection[str]) -> dict[str, Tensor]:
    """Return what a checkpoint with tensors `names` should fill, by its own names: parameters, or rows of one."""
    targets = {name: parameter.detach() for name, parameter in module.named_parameters()}
    if isinstance(module, StoredInParts):
        for fusion in in_parts(module.fusions, names):
            rows = torch.split(targets.pop(fusion.whole), list(fusion.parts.values()))
            targets |= dict(zip(fusion.parts, rows, strict=True))
    return targets


def _open(path: Path) -> TensorFile:
    try:
        return SafetensorsFile(path) if path.suffix == ".safetensors" else PickleFile(path)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as cause:
        damaged = f"{path} cannot be read as a file of tensors ({cause})"
        raise CheckpointError(f"{damaged}. Download or copy the checkpoint again.") from cause
    except Exception as cause:  # pickles make the unpickler raise anything; torch's text advises to allow code
        raise CheckpointError(
            f"{path} is refused: it holds something else than plain tensors, or is damaged. Code in checkpoints is "
            "never run; use safetensors."
        ) from cause


def _compare(folder: Path, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a checkpoint whose tensors are not exactly the expected ones."""
    problems = [f"missing {name} {list(expected[name])}" for name in sorted(expected.keys() - found.keys())]
    problems += [f"unexpected {name} {list(found[name])}" for name in sorted(found.keys() - expected.keys())]
    problems += [
        f"{name} has shape {list(found[name])}, expected {list(expected[name])}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    if problems:
        raise CheckpointError(
            f"the tensors in {folder} do not fit its config.json ({len(problems)} problems):\n  "
            + "\n  ".join(problems)
        )
