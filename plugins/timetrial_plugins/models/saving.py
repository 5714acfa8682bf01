"""Write a module, or a checkpoint of the other layout, as a checkpoint in its family's published layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from timetrial.error import UsageError
from timetrial_plugins.models.hybrid_config import CONVENTIONS, HybridConfig
from timetrial_plugins.models.layouts import Layout, as_published, convert
from timetrial_plugins.models.llama import Llama
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.loading import check_tensors, read_tensors
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_registry.checkpoint import COMPANION, CONFIG_FILE, TOKENIZER_FILES, read_config

WEIGHTS_FILE = "model.safetensors"

Json = Mapping[str, Any]  # Any: JSON


def save_weights(
    module: Llama | Llamba | MambaInLlama, folder: Path, *, dtype: torch.dtype | None = None, extra: Json | None = None
) -> None:
    """Write config.json (and mamba_config.json of a hybrid) and model.safetensors, as the module has them.

    Args:
        module: a hybrid is written in the fused layout and says in its config which conventions it was trained with.
        folder: an existing folder; tokenizer files are the caller's business.
        dtype: what the tensors are cast to; None leaves them.
        extra: further keys of config.json, for example end-of-sequence ids.

    Raises:
        OSError: a file cannot be written. Each file is replaced as a whole, the weights last.
    """
    configs: dict[str, Json] = {CONFIG_FILE: {**module.config.to_json(), **(extra or {})}}
    if isinstance(module, MambaInLlama):
        configs[f"{COMPANION}.json"] = module.config.companion_json()
    _write(folder, configs, module.state_dict(), dtype)


def export_hybrid(
    module: MambaInLlama,
    folder: Path,
    *,
    layout: Layout,
    dtype: torch.dtype | None = None,
    extra: Json | None = None,
) -> None:
    """Write a hybrid such that the published code computes what `module` does.

    Args:
        module: trained with unscaled RoPE.
        folder: an existing folder.
        layout: "fused" for M1's code; "split" for that of MambaInLlama, which wants the head even where it is tied.
        dtype: what the tensors are cast to; None leaves them.
        extra: further keys of config.json; that code looks there for `_name_or_path`, a Llama to take config and
            tokenizer from.

    Raises:
        CheckpointError: that code cannot compute it.
        OSError: a file cannot be written.
    """
    _export((module.config, module.state_dict()), folder, layout, dtype, extra or {})


def convert_checkpoint(source: Path, folder: Path, *, layout: Layout) -> None:
    """Write the checkpoint of a hybrid in another folder such that the published code of that layout reads it.

    Every tensor keeps its number format; there and back again gives the same bits.

    Args:
        source: a checkpoint folder; its tokenizer and generation settings are copied.
        folder: an empty or new folder.
        layout: "fused" for M1's code, "split" for that of MambaInLlama.

    Raises:
        CheckpointError: `source` is no hybrid, does not fit its config, or computes what that code cannot.
        UsageError: `folder` holds something already.
        OSError: a file cannot be written.
    """
    content = read_config(source)
    config = HybridConfig.from_json(content)
    with torch.device("meta"):
        check_tensors(MambaInLlama(config), source)
    tensors = read_tensors(source)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: expected a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in (*TOKENIZER_FILES, "generation_config.json"):
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    extra = {name: value for name, value in content.items() if name not in (COMPANION, CONVENTIONS)}
    _export((config, tensors), folder, layout, None, extra)


def _export(
    hybrid: tuple[HybridConfig, Mapping[str, Tensor]],
    folder: Path,
    layout: Layout,
    dtype: torch.dtype | None,
    extra: Json,
) -> None:
    config, tensors = as_published(*hybrid)
    tensors = convert(tensors, config, to=layout)
    if layout == "split":
        tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
    configs = {CONFIG_FILE: {**config.to_json(), **extra}, f"{COMPANION}.json": config.companion_json()}
    _write(folder, configs, tensors, dtype)


def _write(folder: Path, configs: Mapping[str, Json], tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> None:
    for name, content in configs.items():
        partial = folder / f"{name}.partial"
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        partial.replace(folder / name)
    # Copies, because a file of tensors may not hold two that share memory.
    cast = {name: tensor.detach().to("cpu", dtype or tensor.dtype, copy=True) for name, tensor in tensors.items()}
    partial = folder / f"{WEIGHTS_FILE}.partial"
    save_file({name: tensor.contiguous() for name, tensor in cast.items()}, partial, metadata={"format": "pt"})
    partial.chmod((folder / CONFIG_FILE).stat().st_mode)  # save_file makes files that only their owner can read
    partial.replace(folder / WEIGHTS_FILE)
