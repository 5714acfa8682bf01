"""A configuration with random weights: a model to time, without a checkpoint or a tokenizer, that generates nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, cast

import torch

from timetrial.error import UsageError
from timetrial.protocol import Generation, Request, Sampling
from timetrial.record import Prompt
from timetrial.spec import LoadOptions
from timetrial_plugins.device.recipe import check_interval
from timetrial_plugins.engine import placement
from timetrial_plugins.engine.loading import Build
from timetrial_plugins.engine.model import EngineModel, LoadedCheckpoint
from timetrial_plugins.engine.step_plan import choose_plan
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.tokenizer import ChatTokenizer

_SEED = 0


class Initialisable(Protocol):
    """What every family's module can do beside what the engine asks of it."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""
        ...


def build_random(
    config: Mapping[str, Any],  # Any: JSON
    options: LoadOptions,
    *,
    family: str,
    build: Build,
) -> RandomModel:
    """Build what a parsed config.json asks for, with the weights that training would start from.

    Raises:
        CheckpointError: the family cannot build it.
        UsageError: `options` ask for what is not there (device, number format, compiler, kernels), or the weights do
            not fit.
    """
    device = placement.choose_device(options)
    dtype = placement.choose_dtype(options, device)
    if options.compile:
        placement.check_compiler(device)
    plan = choose_plan(options, device)
    with torch.device("meta"):
        module = build(config).to(dtype)
    check_interval(module, plan.state_interval)
    module.state_dtype = placement.choose_state_dtype(options)
    _check_memory(module, family, device)
    module.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(_SEED)
    with torch.no_grad(), torch.device(device):  # what a family draws aside lies on the device as well
        cast(Initialisable, module).initialise(generator)
    return RandomModel(
        LoadedCheckpoint(
            family=family,
            folder=Path(),
            module=module.eval(),
            tokenizer=NoTokenizer(),
            eos_ids=module.default_eos_ids,
            device=device,
            dtype=dtype,
            is_compiled=options.compile,
            plan=plan,
        ),
        config,
    )


class RandomModel(EngineModel):
    """A model of random weights: it can be timed and measured, and has nothing to say."""

    def __init__(self, checkpoint: LoadedCheckpoint, config: Mapping[str, Any]) -> None:  # Any: JSON
        super().__init__(checkpoint)
        self._config = config

    def _origin(self) -> Mapping[str, str]:
        """Return that the weights are random, and of which config."""
        config = json.dumps(self._config, sort_keys=True)
        return {"weights": "random", "config_digest": hashlib.sha256(config.encode()).hexdigest()}

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, batch_size: int) -> Iterator[Generation]:
        """Refuse: random weights generate noise.

        Raises:
            UsageError: always.
        """
        _refuse()


class NoTokenizer(ChatTokenizer):
    """Stands where a checkpoint has its tokenizer, and refuses to be used."""

    def __init__(self) -> None:
        """Read nothing."""

    def encode(self, text: str) -> list[int]:
        """Refuse."""
        _refuse()

    def decode(self, tokens: Sequence[int]) -> str:
        """Refuse."""
        _refuse()

    def render(self, prompt: Prompt) -> str:
        """Refuse."""
        _refuse()


def _refuse() -> NoReturn:
    raise UsageError(
        "this model has random weights and no tokenizer: it can be timed, not asked. Load a checkpoint to sample"
    )


def _check_memory(module: CausalModule[Any], family: str, device: torch.device) -> None:  # Any: any family's state
    """Refuse weights that do not fit, before any memory is taken: a full CPU kills the process without a word."""
    parameters = list(module.parameters())
    needed = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    free = placement.free_bytes(device)
    if free is not None and needed > free:
        dtype = str(parameters[0].dtype).removeprefix("torch.")
        number = sum(parameter.numel() for parameter in parameters)
        raise UsageError(
            f"the weights do not fit: a {family} of {number:,} parameters in {dtype} needs {needed / 1e9:.3g} GB, and "
            f"{placement.device_name(device)} has {free / 1e9:.3g} GB free. Use a smaller configuration"
            + (", or --dtype bfloat16 for half of that." if dtype == "float32" else ".")
        )
