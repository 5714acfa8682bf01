"""From a reference and the arguments lm-eval passes on to a loaded model and what to do with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import timetrial
from timetrial.catalog import open_catalog
from timetrial.loading import LocatedModel, locate_model
from timetrial_plugins.engine.model import EngineModel

_LOADING = ("dtype", "state_dtype", "state_interval", "compile", "kernels")


class OpenedModel(NamedTuple):
    """A loaded model and the folder of its tokenizer files."""

    model: timetrial.Model
    tokenizer_folder: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a model is asked."""

    most_sequences: int | None = None
    """Evaluated at once; None: as many as a bound on tokens allows."""
    max_length: int | None = None
    """Most tokens of a sequence; None: the model's context."""
    seed: int = 0
    """Of sampled generation."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            UsageError: names the value.
        """
        for name, value in (("batch_size", self.most_sequences), ("max_length", self.max_length)):
            if value is not None and value < 1:
                raise timetrial.UsageError(f"{name} is {value}: expected 1 or more")


def open_located(located: LocatedModel, options: timetrial.LoadOptions) -> OpenedModel:
    """Load a model that was found.

    Raises:
        TimetrialError: it cannot be loaded.
    """
    model = located.load(options)
    return OpenedModel(model, model.tokenizer.folder if isinstance(model, EngineModel) else located.folder)


def open_model(ref: str, device: str | None, options: Mapping[str, Any]) -> OpenedModel:  # Any: parsed text
    """Load a model by reference; `options` are those of `timetrial.load_model`.

    Raises:
        UnknownNameError: no such model, or option.
        TimetrialError: it cannot be loaded.
    """
    for name in options:
        if name not in _LOADING:
            raise timetrial.UnknownNameError(
                "model argument", name, ["batch_size", "device", "max_length", "model", "seed", *_LOADING]
            )
    return open_located(locate_model(ref, open_catalog()), timetrial.LoadOptions(device=device or "auto", **options))


def sequences_at_once(batch_size: int | str | None, max_batch_size: int | None) -> int | None:
    """Return what lm-eval's two arguments mean: a number, or None for as many as fit.

    Raises:
        UsageError: the batch size is neither a number nor auto.
    """
    if batch_size is None or str(batch_size).partition(":")[0] == "auto":
        return max_batch_size
    try:
        return int(batch_size)
    except ValueError:
        raise timetrial.UsageError(f"batch_size is {batch_size!r}: expected a whole number or auto") from None
