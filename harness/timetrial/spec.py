"""What a plugin's hooks return: specs, each with a factory that does the heavy work when it is called.

Nothing here is imported from a plugin, and nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetrial.clock import Clock
from timetrial.protocol import Aggregator, Grader, Model, RewardModel, Task
from timetrial.rates import MachineRates

if TYPE_CHECKING:
    import click


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadOptions:
    """How to load a model: what changes speed or precision, not which checkpoint it is."""

    device: str = "auto"
    """auto (an accelerator if there is one), cpu, cuda, cuda:1, ..."""
    dtype: str = "auto"
    """auto (float32 on a CPU, bfloat16 on an accelerator), float32, bfloat16 or float16."""
    state_dtype: str = "auto"
    """Of recurrent states: auto (float32) or bfloat16, which is smaller and loses digits with every step."""
    state_interval: int = 1
    """Steps between writes of a Llamba's states; 1: every step. More takes a GPU and is refused elsewhere."""
    compile: bool = False
    """Compile the parts of a decode step that gain by it, on their first use."""
    kernels: str = "auto"
    """What decode steps are made of: auto (the best that works), native (on a CPU), triton, pytorch, or eager."""
    tokenizer: Path | None = None
    """Folder of the tokenizer files to use if the checkpoint brings none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """What a model consists of and what a decode step costs, as its config alone tells."""

    parameters: int
    linear_parameters: int
    """Those of the matrix products of a step, the output head included."""
    weight_bytes: int
    """All weights, as loaded."""
    step_weight_bytes: int
    """Weights that a decode step reads, whatever the batch: all but an embedding of which it reads one row."""
    kv_bytes_per_token: int
    """Keys and values, per sequence and token of context."""
    state_bytes: int
    """Recurrent state, per sequence; read and written every step."""
    shape: Mapping[str, Any]
    """The sizes and conventions by which the family builds it, JSON-ready."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model family offered by a plugin."""

    family: str
    """Unique among all plugins, for example llama."""
    load: Callable[[Path, LoadOptions], Model]
    """Load the checkpoint in a folder. Raises CheckpointError if it does not fit."""
    doc: str
    recognises: Callable[[Mapping[str, Any]], bool]
    """Whether a checkpoint's config.json is of this family. Called with the parsed file; must be cheap."""
    measure: Callable[[Mapping[str, Any], str], Architecture] | None = None
    """Tell what a parsed config.json asks for, its weights of a number format such as bfloat16, without the weights.
    Raises CheckpointError if the family cannot build it. None if the family cannot tell."""
    build_random: Callable[[Mapping[str, Any], LoadOptions], Model] | None = None
    """Build what a parsed config.json asks for, its weights drawn at random, to be timed. Such a model says "weights":
    "random" in its description and refuses to generate. Raises CheckpointError if the family cannot build it and
    UsageError, before it takes any memory, if that does not suffice. None if the family cannot."""
    measure_rates: Callable[[LoadOptions, Clock], MachineRates] | None = None
    """Measure the device and number format of the options, within a few seconds: what floors are computed from. None
    if the family cannot, and then timings have no floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSpec:
    """A public or shipped checkpoint known by a short name."""

    name: str
    location: str | None
    """A folder (absolute path) or a Hub id, optionally with @revision; None for a shape without published weights."""
    doc: str
    family: str
    temperature: float | None = None
    """The sampling temperature recommended for it; None if there is no recommendation."""
    config: Mapping[str, Any] | None = None
    """Its config.json, by which it can be described without fetching it; needed if there is no location."""
    licence: str | None = None
    """The licence of the weights; None if it is not known here."""
    tokenizer: str | None = None
    """Where tokenizer files come from if the checkpoint brings none: a folder or a Hub id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """A task offered by a plugin; with `load_named` many tasks, each asked for as NAME:REF."""

    name: str
    load: Callable[[Path | None], Task]
    """Make the task, from the data file given or, if None, from where it normally lives. Raises UsageError if there is
    none by the name alone."""
    doc: str
    load_named: Callable[[str, Path | None], Task] | None = None
    """Make the task that NAME:REF asks for, of REF and the data file. None: the spec is of one task."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregatorSpec:
    """An aggregator offered by a plugin."""

    name: str
    make: Callable[[], Aggregator]
    doc: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardModelSpec:
    """A reward model offered by a plugin. It is asked for as NAME or NAME:REF."""

    name: str
    load: Callable[[str | None, LoadOptions], RewardModel]
    """Load it; the first argument is what followed the colon (a checkpoint folder or Hub id) or None."""
    doc: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GraderSpec:
    """A grader offered by a plugin, to grade instead of the tasks' own or to give a second opinion."""

    name: str
    """What it is asked for by; `Grader.name`, which has a version, is what verdicts record."""
    load: Callable[[], Grader]
    """Make it, heavy packages included. Raises UsageError if one is missing, and says what to install."""
    doc: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandSpec:
    """A CLI sub-command offered by a plugin."""

    name: str
    load: Callable[[], click.Command]
    """Import and return the command; called only when the command is run or its own help is asked for."""
    doc: str
    """One line for `timetrial --help`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a spec came from, so that a number can be traced back."""

    plugin: str
    distribution: str
    version: str
