"""The floor of a timing: the least seconds in which a machine of measured rates could decode (docs/timing.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from timetrial.protocol import StepCost
from timetrial.rates import MachineRates
from timetrial.spec import Architecture


class Costed(Protocol):
    """What can state the cost of its decode steps, as `Model.costs` does."""

    def costs(self, batch: int, context: int) -> StepCost:
        """Return the cost of one decode step of `batch` sequences at `context` tokens each; of 0, the weights'."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchitectureCosts:
    """The costs of a model that is known by its architecture alone."""

    architecture: Architecture

    def costs(self, batch: int, context: int) -> StepCost:
        """Return the cost of one decode step; every sequence reads its own context."""
        one = self.architecture
        return StepCost(
            bytes_moved=one.step_weight_bytes + batch * (one.kv_bytes_per_token * context + 2 * one.state_bytes),
            flops=2 * one.linear_parameters * batch,
        )

    def resident_bytes(self, batch: int, context: int) -> int:
        """Return the bytes of weights, keys and values, and states of sequences of `context` tokens."""
        one = self.architecture
        return one.weight_bytes + batch * (one.kv_bytes_per_token * context + one.state_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeCost:
    """What the decode steps of one batch have to do."""

    step_bytes: float
    """Mean over the steps."""
    step_flops: float
    """Mean over the steps."""
    floor_s: float | None
    """Of all steps together; None if the machine's rates are not known."""


def decode_cost(
    model: Costed, batch: int, prompt_tokens: int, new_tokens: int, rates: MachineRates | None
) -> DecodeCost:
    """Return what `new_tokens` decode steps cost.

    The context grows by one token a step. The mean over the steps is that of the first and the last one, which is
    exact where the cost of a step grows by the same amount with every token of context.
    """
    contexts = (prompt_tokens + 1, prompt_tokens + new_tokens)
    costs = [model.costs(batch, context) for context in contexts]
    floor_s = None
    if rates is not None:
        whatever = [model.costs(0, context) for context in contexts]
        ends = [step_floor_s(cost, none, rates) for cost, none in zip(costs, whatever, strict=True)]
        floor_s = new_tokens * sum(ends) / 2
    return DecodeCost(
        step_bytes=sum(cost.bytes_moved for cost in costs) / 2,
        step_flops=sum(cost.flops for cost in costs) / 2,
        floor_s=floor_s,
    )


def step_floor_s(cost: StepCost, whatever: StepCost, rates: MachineRates) -> float:
    """Return the least seconds of a step, given its cost and what a step moves whatever the batch.

    Weights are read while they are multiplied, so the slower of the two counts. Keys, values and states of the
    sequences come on top: a layer needs its own only when its products are done.
    """
    bytes_per_s = rates.bytes_per_s(cost.bytes_moved)
    weights_s = whatever.bytes_moved / bytes_per_s
    sequences_s = (cost.bytes_moved - whatever.bytes_moved) / bytes_per_s
    return max(weights_s, cost.flops / rates.flops_per_s) + sequences_s
