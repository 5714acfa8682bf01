"""Floors of models on machines that are not at hand, from configs and rates alone (docs/timing.md)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from timetrial.blame import blaming
from timetrial.catalog import Catalog
from timetrial.config import TimingGrid
from timetrial.error import CheckpointError
from timetrial.floor import ArchitectureCosts, decode_cost
from timetrial.loading import known_checkpoint, model_config
from timetrial.rates import MachineRates
from timetrial.spec import Architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class RooflineCell:
    """What one batch of one model costs at least."""

    model: str
    batch: int
    prompt_tokens: int
    new_tokens: int
    step_bytes: float
    step_flops: float
    floor_s: float
    """Of all decode steps together."""
    resident_bytes: int
    """Weights, and keys, values and states of all sequences at their full length: what has to fit."""
    fits: bool | None
    """None if the machine's memory is not known."""

    @property
    def step_s(self) -> float:
        """The floor of one step, the mean over the steps."""
        return self.floor_s / self.new_tokens

    def to_json(self) -> dict[str, Any]:  # Any: JSON-ready
        """Return what scripts read of it."""
        return {**dataclasses.asdict(self), "step_s": self.step_s}


def architectures(names: Iterable[str], dtype: str, catalog: Catalog) -> dict[str, Architecture]:
    """Return what each model consists of, its weights of a number format such as bfloat16; only configs are read.

    Raises:
        UnknownNameError: a name is no known model, no folder and no Hub id.
        CheckpointError: there is no usable config, or its family cannot tell.
    """
    return {name: _architecture(name, dtype, catalog) for name in names}


def roofline_cells(
    models: Mapping[str, Architecture], grid: TimingGrid, rates: MachineRates, memory_bytes: float | None
) -> tuple[RooflineCell, ...]:
    """Return the floor of every cell of a grid, its lengths given, for every model."""
    new_tokens = grid.new_tokens
    assert new_tokens is not None, "settle the grid's lengths first"
    cells = []
    for name, architecture in models.items():
        costs = ArchitectureCosts(architecture=architecture)
        for prompt_tokens in grid.prompt_tokens:
            for batch in sorted(grid.batches):
                cost = decode_cost(costs, batch, prompt_tokens, new_tokens, rates)
                assert cost.floor_s is not None, "rates are given"
                resident = costs.resident_bytes(batch, prompt_tokens + new_tokens)
                cells.append(
                    RooflineCell(
                        model=name,
                        batch=batch,
                        prompt_tokens=prompt_tokens,
                        new_tokens=new_tokens,
                        step_bytes=cost.step_bytes,
                        step_flops=cost.step_flops,
                        floor_s=cost.floor_s,
                        resident_bytes=resident,
                        fits=None if memory_bytes is None else resident <= memory_bytes,
                    )
                )
    return tuple(cells)


def _architecture(name: str, dtype: str, catalog: Catalog) -> Architecture:
    config = model_config(name, known_checkpoint(name, catalog))
    spec = catalog.family_of(config)
    if spec.measure is None:
        raise CheckpointError(f"family {spec.family!r} cannot describe {name!r}: its plugin offers no `measure`")
    with blaming(f"describing {name!r} with family {spec.family!r}", catalog.models()[spec.family].origin):
        return spec.measure(config, dtype)
