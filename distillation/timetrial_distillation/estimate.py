"""What a stage will take, before it starts: trained tensors, operations, memory, and seconds from a measured step.

Operations of a token: 2 for each weight of a matrix product that is used forward, 4 more backward where gradients go
(Kaplan et al., arXiv 2001.08361, appendix); attention's and scans' own are left out, and so is that stage 1 uses mixers
only. Memory is that of weights, gradients and moments; what activations take was measured where the device tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from timetrial.clock import Clock
from timetrial.report.table import Table
from timetrial_distillation.objectives.parameters import TrainedTensor, tabulate
from timetrial_distillation.stages import StageConfig
from timetrial_distillation.trainer import Job, Trainer
from timetrial_distillation.world import World

_BYTES_A_TRAINED_NUMBER = 3 * 4
"""A gradient and AdamW's two moments in float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a stage will take."""

    num_steps: int
    batch_rows: int
    length: int
    tokens: int
    """Places of all rows, padding included."""
    num_parameters: int
    """Of the student."""
    num_trained: int
    flops: float
    """Operations of all processes, for the whole stage."""
    memory_bytes: int
    """Of weights, gradients and optimizer, in all processes together."""
    peak_bytes: int | None
    """Measured in this process during a micro-batch; None where the device does not tell."""
    step_s: float | None
    """Seconds of one step's gradients, from one micro-batch; None if nothing was measured."""

    @property
    def total_s(self) -> float | None:
        """Seconds of all steps."""
        return None if self.step_s is None else self.num_steps * self.step_s


def estimate(config: StageConfig, job: Job, tensors: Sequence[TrainedTensor]) -> Estimate:
    """Return what can be told of a job without running it; before its models are sharded."""
    num_trained = sum(tensor.num_trained for tensor in tensors)
    models = [job.student] if job.teacher is None else [job.student, job.teacher]
    weights = sum(p.numel() * p.element_size() for model in models for p in model.parameters())
    held = sum(p.numel() for name, p in job.student.named_parameters() if name in {t.name for t in tensors})
    forward = 2 * sum(model.footprint.linear_parameters for model in models)
    backward = 4 * job.student.footprint.linear_parameters
    return Estimate(
        num_steps=config.loop.num_steps,
        batch_rows=config.batch_rows,
        length=config.length,
        tokens=config.tokens,
        num_parameters=sum(p.numel() for p in job.student.parameters()),
        num_trained=num_trained,
        flops=float(forward + backward) * config.tokens,
        memory_bytes=weights + _BYTES_A_TRAINED_NUMBER * held,
        peak_bytes=None,
        step_s=None,
    )


def measure_step(trainer: Trainer, clock: Clock, world: World) -> tuple[float, int | None]:
    """Return the seconds of a step's gradients, from its second micro-batch, and the peak of memory.

    No weight changes.
    """
    if world.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(world.device)
    trainer.rehearse()
    start_s = clock.now()
    num_micro_batches = trainer.rehearse()
    seconds = (clock.now() - start_s) * num_micro_batches
    peak = torch.cuda.max_memory_allocated(world.device) if world.device.type == "cuda" else None
    return seconds, peak


def trained_tensors(job: Job) -> list[TrainedTensor]:
    """Return what the stage trains, before the student is sharded.

    Raises:
        UsageError: the stage cannot train this student.
    """
    return tabulate(job.student, job.objective.trained(job.student))


def tensor_table(job: Job, tensors: Sequence[TrainedTensor]) -> Table:
    """Return the table of what is trained, layers of one kind in one line."""
    groups: dict[tuple[str, ...], list[TrainedTensor]] = {}
    for tensor in tensors:
        name = ".".join("*" if part.isdecimal() else part for part in tensor.name.split("."))
        rows = "all" if tensor.num_rows == tensor.shape[0] else f"{tensor.num_rows:,} of {tensor.shape[0]:,}"
        shape = " x ".join(f"{size:,}" for size in tensor.shape)
        groups.setdefault((name, shape, rows, "yes" if tensor.decays else "no"), []).append(tensor)
    total = sum(p.numel() for p in job.student.parameters())
    trained = sum(tensor.num_trained for tensor in tensors)
    return Table(
        title=f"Trained: {trained:,} of {total:,} parameters",
        columns=("Tensor", "Shape", "Rows trained", "Decays", "Tensors", "Parameters trained"),
        rows=tuple(
            (*key, f"{len(members):,}", f"{sum(member.num_trained for member in members):,}")
            for key, members in groups.items()
        ),
        num_text_columns=4,
        note=f"frozen: {total - trained:,}",
    )


def estimate_table(stage: str, found: Estimate) -> Table:
    """Return the estimate as a table."""
    rows = [
        ("steps", f"{found.num_steps:,}"),
        ("rows a step", f"{found.batch_rows:,} of {found.length:,} tokens"),
        ("tokens", f"{found.tokens:,}"),
        ("operations", f"about {found.flops:.2g}"),
        ("weights, gradients, moments", f"{found.memory_bytes / 1e9:,.2f} GB"),
    ]
    if found.peak_bytes is not None:
        rows.append(("peak of a process", f"{found.peak_bytes / 1e9:,.2f} GB, optimizer left out"))
    if found.step_s is not None and found.total_s is not None:
        rows.append(("gradients of a step", f"{found.step_s:,.3g} s"))
        rows.append(("whole stage", f"about {readable_seconds(found.total_s)} on what is used now"))
    return Table(title=f"{stage}: what it takes", columns=("", "Estimate"), rows=tuple(rows))


def readable_seconds(seconds: float) -> str:
    """Return seconds in a unit that can be read."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} seconds"
