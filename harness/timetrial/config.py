"""What a run is a function of: one frozen RunConfig, built by the CLI or by a caller, written next to the results.

Environment variables are read here and in `manager.py`, nowhere else.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timetrial.engines import OWN_ENGINE
from timetrial.error import UnknownNameError, UsageError
from timetrial.statistics.reduction import REDUCTIONS, Reduction

DATA_VARIABLE = "TIMETRIAL_DATA"
OWN_GRADER = "own"
"""What `timetrial grade` takes for each task's own grader, where the name of one can stand."""
NO_GRADER = "none"
"""What it takes for no second opinion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimingGrid:
    """The batches to time and how. The paper's protocol is 512 prompt and 512 new tokens, batches to 512."""

    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    prompt_tokens: tuple[int, ...] = (512,)
    """Several: every batch is timed after prompts of each length. Empty: the median of the run's samples."""
    new_tokens: int | None = 512
    """None: the mean length of the run's completions."""
    repeats: int = 5
    warmups: int = 1
    times_verifier: bool = True
    """Time the run's reward model at the same batches too, so that what it takes is paid for out of the budget."""
    spans_contexts: bool = False
    """Time every batch after a second prompt too, up to the longest context of the run's completions: replay needs
    it (docs/deadlines.md)."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be measured."""
        _at_least("batch", 1, *self.batches)
        _at_least("prompt tokens", 1, *self.prompt_tokens)
        _not_repeated("batch", self.batches)
        _not_repeated("prompt tokens", self.prompt_tokens)
        _at_least("new tokens", 1, self.new_tokens)
        _at_least("timing repeats", 1, self.repeats)
        _at_least("warm-ups", 1, self.warmups)


def powers_up_to(samples: int) -> tuple[int, ...]:
    """Return the batch sizes that a run of so many samples times by default: powers of two, at most 512."""
    return tuple(2**power for power in range(10) if 2**power <= max(1, samples))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One run: which models on which tasks, how sampled, how aggregated, how timed."""

    models: tuple[str, ...]
    random_weights: bool = False
    """Time the models' configurations with weights drawn at random: nothing but a config is needed, or sampled."""
    tasks: tuple[str, ...] = ()
    """Empty: nothing is sampled, only timed."""
    samples: int = 0
    """Completions per problem. May grow later; a run never loses samples."""
    temperatures: tuple[float, ...] = ()
    """Each is a curve of its own. Empty: the temperature recommended for each checkpoint."""
    top_p: float = 1.0
    top_k: int = -1
    """-1 considers all tokens."""
    max_tokens: int | None = None
    """None: the task's own limit."""
    seed: int = 0
    limit: int | None = None
    """Use only this many problems of each task: one draw for all seeds, stratified by level; never the first ones."""
    data: tuple[tuple[str, str], ...] = ()
    """(task, file) pairs that replace where the task normally reads its problems."""
    aggregators: tuple[str, ...] = ("majority", "best-of-n", "weighted")
    """Those that need scores are drawn only if there is a reward model."""
    reward_model: str | None = None
    reduction: Reduction = "last"
    """How a completion's step scores become one score: last (the paper), min, prod or mean."""
    gamma: float = 1.0
    """The power that scores are raised to before they are added up: 0 votes by majority, 1 weighs by the score."""
    grader: str | None = None
    """A plugged-in grader that grades instead of each task's own. None: each task's own."""
    second_opinion: str | None = None
    """A plugged-in grader that is asked where the grader cannot tell; None: nobody is."""
    grid: TimingGrid | None = None
    """None: nothing is timed, and there are no curves against seconds."""
    engines: tuple[str, ...] = (OWN_ENGINE,)
    """What times each model: the engine of its family's plugin, and others by name, where they can run it."""
    batch_size: int = 64
    """Sequences sampled together: changes speed, not samples."""
    device: str = "auto"
    dtype: str = "auto"
    state_dtype: str = "auto"
    """Of recurrent states: auto (float32) or bfloat16."""
    state_interval: int = 1
    """Steps between writes of a Llamba's states; 1: every step. More takes a GPU."""
    compile: bool = False
    """Compile the parts of a decode step that gain by it: other seconds, and the samples up to floating point."""
    kernels: str = "auto"
    """What decode steps are made of: auto (the best that works), native (on a CPU), triton, pytorch, or eager."""
    baseline: str | None = None
    """The model that speed-ups are over; None: the first."""
    budget_s: float | None = None
    """The budget in seconds that the report answers first; None leaves it to the reader."""

    def __post_init__(self) -> None:
        """Refuse values that make no run, before anything is loaded.

        Raises:
            UsageError: a value is out of range; the message names the field.
        """
        _not_repeated("model", self.models)
        _not_repeated("task", self.tasks)
        _not_repeated("temperature", self.temperatures)
        _not_repeated("aggregator", self.aggregators)
        _not_repeated("engine", self.engines)
        if not self.models:
            raise UsageError("no model given: name at least one (see `timetrial models`)")
        if self.baseline is not None and self.baseline not in self.models:
            raise UnknownNameError("baseline", self.baseline, self.models, "It is one of the models that are timed.")
        if self.random_weights and (self.tasks or self.reward_model):
            raise UsageError("a model of random weights can be timed, not sampled or scored: give no task with it")
        if self.tasks and self.grid is not None and len(self.grid.prompt_tokens) > 1:
            raise UsageError(
                f"a run on tasks is timed at one prompt length, and {len(self.grid.prompt_tokens)} are given: "
                "compare several with `timetrial time`"
            )
        if not self.engines:
            raise UsageError(f"no engine given: {OWN_ENGINE!r} is each family's own")
        if self.tasks and self.engines != (OWN_ENGINE,):
            raise UsageError(
                f"a run on tasks is timed on the engine that samples, {OWN_ENGINE!r}: compare engines with "
                "`timetrial time`"
            )
        _at_least("samples", 1 if self.tasks else 0, self.samples)
        _at_least("max tokens", 1, self.max_tokens)
        _at_least("limit", 1, self.limit)
        _at_least("batch size", 1, self.batch_size)
        _at_least("seed", 0, self.seed)
        _at_least("state interval", 1, self.state_interval)
        _whole_cycles(self.grid, self.state_interval)
        if self.top_k != -1:
            _at_least("top-k (-1 for all tokens)", 1, self.top_k)
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p is {self.top_p}: expected a number above 0 and at most 1")
        for temperature in self.temperatures:
            if not (math.isfinite(temperature) and temperature >= 0):
                raise UsageError(f"temperature is {temperature}: expected 0 (greedy) or more")
        if self.budget_s is not None and not (math.isfinite(self.budget_s) and self.budget_s > 0):
            raise UsageError(f"budget is {self.budget_s} s: expected a positive number of seconds")
        if self.reduction not in REDUCTIONS:
            raise UnknownNameError("reduction", self.reduction, REDUCTIONS)
        if not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise UsageError(f"gamma is {self.gamma}: expected 0 (a majority vote) or more; its limit is best-of-n")


# Fields whose change leaves every sample, verdict and score already on disk valid.
# Scores are kept by reward model, so another one adds to them.
FREE_FIELDS = frozenset(
    {"batch_size", "device", "budget_s", "baseline", "grid", "engines", "aggregators"}
    | {"reward_model", "reduction", "gamma"}
)
# Fields whose change leaves every sample valid, but no verdict: `timetrial grade` changes them.
GRADING_FIELDS = frozenset({"grader", "second_opinion"})
# Fields that may gain entries (or grow), never lose any.
GROWING_FIELDS = frozenset({"models", "tasks", "temperatures", "data", "samples"})


def config_to_json(config: RunConfig) -> dict[str, Any]:
    """Turn a config into a JSON-ready dict."""
    return dataclasses.asdict(config)


def config_from_json(data: Mapping[str, Any]) -> RunConfig:
    """Read back what `config_to_json` made."""
    values: dict[str, Any] = {  # Any: the fields differ in type
        name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
    }
    values["data"] = tuple((task, path) for task, path in data["data"])
    values["grid"] = None if data["grid"] is None else _grid_from_json(data["grid"])
    return RunConfig(**values)


def _grid_from_json(data: Mapping[str, Any]) -> TimingGrid:  # Any: JSON
    """Read a grid; before there were several prompt lengths, one stood without a list, and none as null."""
    lengths = data["prompt_tokens"]
    prompt_tokens = () if lengths is None else (lengths,) if isinstance(lengths, int) else tuple(lengths)
    return TimingGrid(**{**data, "batches": tuple(data["batches"]), "prompt_tokens": prompt_tokens})


def config_difference(old: RunConfig, new: RunConfig) -> list[str]:
    """Say, a line each, why samples made under `old` cannot be continued under `new`; empty if they can.

    Who grades is not compared: that has a cure of its own.
    """
    differences = []
    for field in dataclasses.fields(RunConfig):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after or field.name in FREE_FIELDS | GRADING_FIELDS or _has_grown(field.name, before, after):
            continue
        differences.append(f"{field.name}: the run has {before!r}, asked for {after!r}")
    return differences


def run_name(config: RunConfig) -> str:
    """Return the default folder name of a run: readable, and the same for every command that continues it."""
    left_out = FREE_FIELDS | GRADING_FIELDS | {"samples"}
    identity = {name: value for name, value in config_to_json(config).items() if name not in left_out}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    words = [*(config.tasks or ("time",)), *(Path(model).name for model in config.models)]
    return "-".join([*words[:4], digest]).replace("@", "-").replace(":", "-")


def data_file(name: str) -> Path | None:
    """Return a data file of the folder named by TIMETRIAL_DATA, or None if the variable is not set.

    Raises:
        UsageError: the variable is set, but there is no such file.
    """
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        return None
    path = Path(folder) / name
    if not path.is_file():
        raise UsageError(f"{DATA_VARIABLE} is {folder!r}, but there is no file {name} in it")
    return path


def _has_grown(name: str, before: Any, after: Any) -> bool:  # Any: the fields differ in type
    if name not in GROWING_FIELDS:
        return False
    if isinstance(before, int):
        return bool(after >= before)
    # An empty tuple of temperatures means "as recommended", which is no subset of an explicit list.
    return bool(before) == bool(after) and set(before) <= set(after) or (not before and name != "temperatures")


def _whole_cycles(grid: TimingGrid | None, state_interval: int) -> None:
    """Refuse to time steps without the write of states that belongs to them."""
    new_tokens = None if grid is None else grid.new_tokens
    if new_tokens is not None and (left_over := new_tokens % state_interval):
        raise UsageError(
            f"new tokens is {new_tokens}, and states are written every {state_interval} steps: expected a multiple, "
            f"for example {new_tokens - left_over + state_interval}, or the last {left_over} steps would be timed "
            "without the write that belongs to them"
        )


def _at_least(what: str, least: int, *values: int | None) -> None:
    for value in values:
        if value is not None and value < least:
            raise UsageError(f"{what} is {value}: expected {least} or more")


def _not_repeated(what: str, values: tuple[Any, ...]) -> None:  # Any: names or numbers
    for value in values:
        if values.count(value) > 1:
            raise UsageError(f"{what} {value!r} is given {values.count(value)} times: name each once")
