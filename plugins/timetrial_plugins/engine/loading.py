"""From a checkpoint folder to a Model: module, weights, tokenizer and end-of-sequence ids put together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from timetrial.error import CheckpointError
from timetrial.spec import LoadOptions
from timetrial_plugins.device.recipe import check_interval
from timetrial_plugins.engine.model import EngineModel, LoadedCheckpoint
from timetrial_plugins.engine.placement import check_compiler, choose_device, choose_dtype, choose_state_dtype
from timetrial_plugins.engine.step_plan import choose_plan
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.loading import load_weights
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_registry.checkpoint import read_config

Build = Callable[[Mapping[str, Any]], CausalModule[Any]]  # Any: JSON; each family has its own state
"""Makes a family's module from a parsed config.json; called under the meta device, so it may not read tensors."""


def load_model(folder: Path, options: LoadOptions, *, family: str, build: Build) -> EngineModel:
    """Load the checkpoint in a folder as a model of the family.

    Raises:
        CheckpointError: files are missing, damaged or do not fit together.
        UsageError: `options` ask for a device, number format, compiler or kernels that are not there.
    """
    device = choose_device(options)
    dtype = choose_dtype(options, device)
    if options.compile:
        check_compiler(device)
    plan = choose_plan(options, device)
    config = read_config(folder)
    with torch.device("meta"):
        module = build(config)
    check_interval(module, plan.state_interval)
    module.state_dtype = choose_state_dtype(options)
    load_weights(module, folder, device=device, dtype=dtype)
    tokenizer = ChatTokenizer(options.tokenizer or folder)
    return EngineModel(
        LoadedCheckpoint(
            family=family,
            folder=folder,
            module=module.eval(),
            tokenizer=tokenizer,
            eos_ids=_eos_ids(folder, config) | set(tokenizer.eos_ids) | module.default_eos_ids,
            device=device,
            dtype=dtype,
            is_compiled=options.compile,
            plan=plan,
        )
    )


def _eos_ids(folder: Path, config: Mapping[str, Any]) -> frozenset[int]:
    """Return the end-of-sequence ids that generation_config.json and config.json name, one or several each."""
    path, found = folder / "generation_config.json", [config.get("eos_token_id")]
    try:
        found.append(json.loads(path.read_text(encoding="utf-8")).get("eos_token_id"))
    except FileNotFoundError:
        pass  # it is optional
    except (OSError, ValueError, AttributeError) as cause:
        raise CheckpointError(f"{path} cannot be read as a JSON object ({cause})") from cause
    ids = [token for entry in found if entry is not None for token in (entry if isinstance(entry, list) else [entry])]
    if not all(isinstance(token, int) for token in ids):
        raise CheckpointError(f"eos_token_id in {folder} is {found}: expected a whole number or a list of them")
    return frozenset(ids)
