"""The hooks a plugin may implement. Each returns a list of specs and does nothing else.

Hooks are called once per process, right after the plugins are loaded, in no particular order; they must be cheap and
must not import torch. Names are unique over all plugins, or loading fails.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from timetrial.engines import EngineSpec
from timetrial.spec import AggregatorSpec, CheckpointSpec, CommandSpec, GraderSpec, ModelSpec, RewardModelSpec, TaskSpec

PROJECT = "timetrial"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def timetrial_models() -> Sequence[ModelSpec]:  # type: ignore[empty-body]  # specifications have no body
    """Return the model families this plugin can load."""


@hookspec
def timetrial_tasks() -> Sequence[TaskSpec]:  # type: ignore[empty-body]
    """Return the tasks this plugin offers."""


@hookspec
def timetrial_aggregators() -> Sequence[AggregatorSpec]:  # type: ignore[empty-body]
    """Return the ways of choosing one answer from many."""


@hookspec
def timetrial_reward_models() -> Sequence[RewardModelSpec]:  # type: ignore[empty-body]
    """Return the reward models that can score solutions."""


@hookspec
def timetrial_graders() -> Sequence[GraderSpec]:  # type: ignore[empty-body]
    """Return the graders that can be asked for by name, beside those that tasks bring along."""


@hookspec
def timetrial_engines() -> Sequence[EngineSpec]:  # type: ignore[empty-body]
    """Return the engines that can be timed beside the families' own."""


@hookspec
def timetrial_checkpoints() -> Sequence[CheckpointSpec]:  # type: ignore[empty-body]
    """Return the checkpoints known by a short name."""


@hookspec
def timetrial_commands() -> Sequence[CommandSpec]:  # type: ignore[empty-body]
    """Return sub-commands for the command line."""
