"""Other engines: further ways to run models of some families, timed beside the family's own (docs/timing.md).

A plugin offers them, so that seconds can be compared with what a library or a paper used. They are timed, and never
asked for samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from timetrial.clock import Clock

if TYPE_CHECKING:
    from timetrial.protocol import Model, PhaseTimes
    from timetrial.spec import LoadOptions

OWN_ENGINE = "own"
"""What stands for the engine of the family's own plugin, in `--engine` and in records."""


@runtime_checkable
class TimedModel(Protocol):
    """A model as an engine runs it: it can be timed. Every `Model` is one."""

    @property
    def description(self) -> Mapping[str, Any]:  # Any: JSON-ready
        """JSON-ready facts for provenance; "kernels" says how its steps are run, in a few words."""
        ...

    def decode_timing(self, batch: int, prompt_tokens: int, new_tokens: int, *, clock: Clock, seed: int) -> PhaseTimes:
        """Time one batch, as `Model.decode_timing` does.

        Raises:
            OutOfMemory: the batch does not fit.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineInput:
    """What another engine is given to run."""

    family: str
    config: Mapping[str, Any]  # Any: JSON
    """The parsed config.json."""
    folder: Path | None
    """The checkpoint's; None if the weights are random."""
    own: Model
    """The model as its family's own engine runs it, whose weights may be shared: both are in memory together."""
    options: LoadOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSpec:
    """An engine offered by a plugin, to be timed beside the families' own."""

    name: str
    load: Callable[[EngineInput], TimedModel]
    """Make a model ready to be timed, with the weights of `own`. Raises CheckpointError if it does not fit."""
    doc: str
    why_not: Callable[[str], str | None]
    """Say why models of a family cannot be run here, for example a package that is not installed; None if they can.
    Must be cheap."""
