"""What a family makes of a config, measured on a module without weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from timetrial.spec import Architecture
from timetrial_plugins.models.families import BUILDERS


def measure(family: str, config: Mapping[str, Any], dtype: str) -> Architecture:  # Any: JSON
    """Return the architecture that a parsed config.json asks for, its weights of `dtype`, for example bfloat16.

    Raises:
        CheckpointError: the family cannot build it.
    """
    with torch.device("meta"):
        module = BUILDERS[family](config).to(getattr(torch, dtype))
    footprint = module.footprint
    return Architecture(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        linear_parameters=footprint.linear_parameters,
        weight_bytes=sum(parameter.numel() * parameter.element_size() for parameter in module.parameters()),
        step_weight_bytes=footprint.weight_bytes,
        kv_bytes_per_token=footprint.kv_bytes_per_token,
        state_bytes=footprint.state_bytes,
        shape=_jsonable(dataclasses.asdict(module.config)),
    )


def _jsonable(value: Any) -> Any:  # Any: JSON after, and what configs hold before
    if isinstance(value, dict):
        return {name: _jsonable(item) for name, item in value.items()}
    if hasattr(value, "_asdict"):
        return _jsonable(value._asdict())
    return [_jsonable(item) for item in value] if isinstance(value, (list, tuple)) else value
