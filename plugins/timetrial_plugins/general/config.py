"""What general benchmarks are a function of, apart from the models and tasks: one frozen GeneralConfig."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timetrial


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralConfig:
    """How models are asked. A folder holds results of one config only; models and tasks may be added."""

    include_paths: tuple[str, ...] = ()
    """Folders with task definitions of the user's own."""
    data_dir: str | None = None
    """Folder with local copies of data sets; None: lm-eval gets all of them."""
    num_fewshot: int | None = None
    """None: as many as each task says."""
    limit: float | None = None
    """At most so many documents of each task, the first ones; below 1 such a share of them."""
    apply_chat_template: bool = False
    fewshot_as_multiturn: bool = True
    """With a chat template: whether each worked example is a turn of its own, as lm-eval does by default."""
    system_instruction: str | None = None
    generation: str | None = None
    """Arguments that replace those of generation tasks, as name=value,name=value."""
    max_length: int | None = None
    """Most tokens of a sequence; None: each model's context."""
    seed: int = 0
    """Of sampled generation; few-shot examples are drawn with lm-eval's own seed."""
    dtype: str = "auto"
    state_dtype: str = "auto"
    device: str = "auto"
    batch_size: int | None = None
    """Sequences evaluated at once; None: as many as fit. Changes speed, not results."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            UsageError: names the field.
        """
        for name, least in (("num_fewshot", 0), ("max_length", 1), ("seed", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise timetrial.UsageError(f"{name} is {value}: expected {least} or more")
        limit = self.limit
        if limit is not None and not (math.isfinite(limit) and limit > 0 and (limit < 1 or limit == int(limit))):
            raise timetrial.UsageError(
                f"limit is {limit}: expected a number of documents, or a share of them between 0 and 1"
            )


FREE_FIELDS = frozenset({"device", "batch_size"})
"""Their change leaves every result valid."""


def to_json(config: GeneralConfig) -> dict[str, Any]:  # Any: JSON-ready
    """Turn a config into a JSON-ready dict."""
    return dataclasses.asdict(config)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:  # Any: JSON
    """Say, a line each, why results made under one config cannot be continued under another; both as JSON."""
    return [
        f"{name}: the run has {old.get(name)!r}, asked for {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if name not in FREE_FIELDS and _plain(old.get(name)) != _plain(new.get(name))
    ]


def folder_name(models: Sequence[str], tasks: Sequence[str], config: GeneralConfig) -> str:
    """Return the default folder name of a run: readable, and the same for every command that continues it."""
    identity = {name: value for name, value in to_json(config).items() if name not in FREE_FIELDS}
    text = json.dumps([models, tasks, identity], sort_keys=True)
    words = ["general", *(word.replace(":", "-") for word in tasks[:2])]
    words += [Path(model).name.replace("@", "-").replace(":", "-") for model in models[:2]]
    return "-".join([*words, hashlib.sha256(text.encode()).hexdigest()[:8]])


def _plain(value: Any) -> Any:  # Any: JSON, where a tuple has become a list
    return list(value) if isinstance(value, tuple) else value
