"""One step of training: rows, gradients, optimizer. It does not know what is learned, nor when to save.

The gradient is that of the mean over a step's units, whoever holds its rows: their number, over all processes, is known
before anything is backpropagated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch

from timetrial.error import TimetrialError, UnknownNameError, UsageError
from timetrial_distillation.data.rows import Rows, RowSource
from timetrial_distillation.objectives.parameters import RowDecay, freeze_others, parameter_groups
from timetrial_distillation.objectives.stage import Model, StageObjective
from timetrial_distillation.schedule import Schedule
from timetrial_distillation.world import World

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How the weights are moved: AdamW with decoupled decay of matrices only, clipping, a schedule."""

    num_steps: int
    learning_rate: float
    """At the schedule's peak."""
    schedule: Schedule = field(default_factory=Schedule)
    weight_decay: float = 0.1
    """Of matrices and convolutions; norms, biases and the rates of Mamba layers do not decay."""
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    clip_norm: float = 1.0
    checkpoint_every: int = 100
    """Steps between checkpoints; one is also written at the end and when training is interrupted."""

    def __post_init__(self) -> None:
        """Refuse values that no run can have.

        Raises:
            UsageError: names the field.
        """
        for name in ("num_steps", "learning_rate", "clip_norm", "checkpoint_every"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected a positive number")
        if self.weight_decay < 0:
            raise UsageError(f"weight_decay is {self.weight_decay}; expected 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """How a run is carried out. Only the precision changes what comes out, but for the order of sums."""

    micro_rows: int = 8
    """Rows that go through the model together in one process."""
    precision: Precision = "float32"
    """Of products: bfloat16 by autocast. Weights, gradients and moments are float32."""
    keep_last: int = 2
    """Checkpoints that are kept."""

    def __post_init__(self) -> None:
        """Refuse values that no run can have.

        Raises:
            UsageError: names the field.
        """
        for name in ("micro_rows", "keep_last"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.precision not in PRECISIONS:
            raise UnknownNameError("precision", self.precision, PRECISIONS)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Job:
    """What is trained on what, and how."""

    student: Model
    """float32; trained in place."""
    objective: StageObjective
    teacher: Model | None = None
    """The objective's, to be placed; None if it has none."""
    source: RowSource
    batch_rows: int
    """Rows a step, over all processes."""
    loop: LoopConfig
    execution: Execution = field(default_factory=Execution)


class Outcome(NamedTuple):
    """What happened in a step, over all processes."""

    loss: float
    """Mean over the step's units."""
    learning_rate: float
    gradient_norm: float
    """Before clipping."""
    num_tokens: int
    """Inputs, padding not counted; labels are fewer."""
    metrics: Mapping[str, float]
    """The objective's, means over the units."""


class TrainingDivergedError(TimetrialError):
    """The loss is no longer a number."""


class Trainer:
    """A student on its device, sharded if need be, with its optimizer."""

    def __init__(self, job: Job, world: World) -> None:
        """Freeze what is not trained and place the models.

        Raises:
            UsageError: the objective cannot train this student, or the rows cannot be divided among the processes.
        """
        self._job = job
        self._world = world
        self._rows_here = world.share(job.batch_rows)
        trained = job.objective.trained(job.student)
        freeze_others(job.student, trained)
        world.place(job.student.train(), job.objective.forward_methods)
        if job.teacher is not None:
            world.place(job.teacher)
        self._parameters = [parameter for parameter in job.student.parameters() if parameter.requires_grad]
        loop = job.loop
        self.optimizer = torch.optim.AdamW(
            parameter_groups(job.student, trained, loop.weight_decay),
            lr=loop.learning_rate,
            betas=loop.betas,
            eps=loop.epsilon,
            fused=True,
        )
        RowDecay(job.student, trained, loop.weight_decay).attach(self.optimizer)

    def advance(self, step: int) -> Outcome:
        """Do the step of this number, from 0, and return what happened.

        Raises:
            TrainingDivergedError: the loss became NaN or infinite; the weights are as before.
        """
        loop = self._job.loop
        learning_rate = loop.learning_rate * loop.schedule.multiplier(step, loop.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        loss, num_tokens, metrics = self.accumulate(step)
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"the loss became {loss} at step {step + 1}, at a learning rate of {learning_rate:.3g}."
                " Begin again in another output folder with a lower learning rate."
            )
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, loop.clip_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Outcome(loss, learning_rate, norm.item(), num_tokens, metrics)

    def accumulate(self, step: int) -> tuple[float, int, dict[str, float]]:
        """Add up the gradients of a step; return its loss, tokens and metrics over all processes."""
        objective, world = self._job.objective, self._world
        batches = list(self._micro_batches(step))
        counted = world.total([sum(objective.count(rows) for rows in batches), sum(b.num_tokens for b in batches)])
        count = max(counted[0], 1.0)
        sums: dict[str, torch.Tensor] = {}
        for rows in batches:
            with self._precision():
                parts = objective.backward(self._job.student, rows, world.size / count)
            for name, value in {"": parts.loss_sum, **parts.metrics}.items():
                sums[name] = sums[name] + value if name in sums else value
        totals = world.total([value.item() for value in sums.values()])
        means = {name: total / count for name, total in zip(sums, totals, strict=True)}
        return means.pop(""), int(counted[1]), means

    def rehearse(self) -> int:
        """Compute the gradients of the first micro-batch and drop them; return how many a step has."""
        with self._precision():
            self._job.objective.backward(self._job.student, next(self._micro_batches(0)), 0.0)
        self.optimizer.zero_grad(set_to_none=True)
        return -(-self._rows_here // self._job.execution.micro_rows)

    def _precision(self) -> torch.autocast:
        is_narrow = self._job.execution.precision == "bfloat16"
        return torch.autocast(self._world.device.type, torch.bfloat16, enabled=is_narrow)

    def _micro_batches(self, step: int) -> Iterator[Rows]:
        """Yield this process's rows of a step: as many as every other's, one process's behind the other's."""
        first = step * self._job.batch_rows + self._world.rank * self._rows_here
        most, device = self._job.execution.micro_rows, self._world.device
        for start in range(0, self._rows_here, most):
            rows = self._job.source.rows(first + start, min(most, self._rows_here - start))
            yield rows.to(device)
