"""The output folder of a run: who may write to it, which run it holds, and the model in the Hub's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

from timetrial.error import CheckpointError, ConfigMismatchError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from timetrial_plugins.models.llama import Llama

TRAINING_FOLDER = "training"
"""Where the checkpoint, the log and the config of the run live, inside the output folder."""

Json = Mapping[str, Any]  # Any: JSON


def prepare_output(out: Path, config: Json, *, resume: bool) -> Path:
    """Make the output folder, or check that it holds the run to resume; return its training folder.

    Raises:
        UsageError: `out` is a file, or has files and `resume` is off or finds no run in it.
        ConfigMismatchError: the run in it was made with another config.
        CheckpointError: its config is damaged.
    """
    folder = out / TRAINING_FOLDER
    claim_folder(out, folder, config, resume=resume)
    return folder


def claim_folder(used: Path, folder: Path, config: Json, *, resume: bool) -> None:
    """Make the training folder `folder`, in or beside `used`, or check that it is that of the run to resume.

    Raises:
        UsageError: `used` is a file, or has files and `resume` is off or finds no run in `folder`.
        ConfigMismatchError: the run in it was made with another config.
        CheckpointError: its config is damaged.
    """
    if used.exists() and not used.is_dir():
        raise UsageError(f"the output folder {used} is a file. Choose another name.")
    is_used = used.exists() and any(used.iterdir())
    stored = folder / "config.json"
    if is_used and not resume:
        raise UsageError(
            f"the output folder {used} is not empty. Choose another one, or pass --resume to go on with the run in it."
        )
    if is_used and not stored.exists():
        raise UsageError(f"{used} holds no training run to resume: {stored} is missing.")
    wanted = json.loads(json.dumps(config))
    if is_used:
        refuse_difference(read_json(stored), wanted, stored)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(stored, wanted)


def export_model(model: Llama, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write config.json, generation_config.json and model.safetensors (bfloat16); weights last, atomically."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    ends = {name: getattr(tokenizer, name) for name in names}
    write_json(out / "config.json", {**model.config.to_json(), "dtype": "bfloat16", **ends})
    write_json(out / "generation_config.json", {"do_sample": True, "temperature": 0.8, **ends})
    weights = {name: t.detach().to(torch.bfloat16).contiguous() for name, t in model.state_dict().items()}
    partial = out / "model.safetensors.partial"
    partial.write_bytes(save(weights, metadata={"format": "pt"}))  # save_file makes files only their owner can read
    partial.replace(out / "model.safetensors")


def write_json(path: Path, data: Json) -> None:
    """Write a JSON file that is either the old or the new one, never a part."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> Json:
    """Read a JSON file.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        data: Json = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is damaged ({error}). Use another output folder.") from error
    return data


def refuse_difference(stored: Json, wanted: Json, path: Path) -> None:
    """Refuse to go on with what was begun under another config.

    Raises:
        ConfigMismatchError: names every value that differs.
    """
    before, now = _flatten(stored), _flatten(wanted)
    changes = [
        f"{name}: {before.get(name)} before, {now.get(name)} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if changes:
        raise ConfigMismatchError(
            f"{path} is of another run ({'; '.join(changes)}). Use the same values, or another output folder."
        )


def _flatten(data: Json, prefix: str = "") -> dict[str, Any]:  # Any: JSON
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
