"""A model's head as plain tensors, also where FSDP2 has spread it over ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from timetrial.error import UsageError
from timetrial_distillation.objectives.chunked import Projection
from timetrial_distillation.objectives.stage import Model

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def project(model: Model, hidden: Tensor) -> Projection:
    """Return the logits of `hidden` (N, D), not computed yet. A head in shards is gathered, once a call."""
    head = model.anatomy.head
    bias = getattr(head, "bias", None)
    return Projection(hidden, gather(head.weight), None if bias is None else gather(bias))


def shared_vocabulary(student: Model, teacher: Model | None, vocab_size: int | None) -> int:
    """Return the number of tokens that both sides give logits for: `vocab_size`, or what both say they have.

    Raises:
        UsageError: they say different numbers and none is given, or one has fewer rows than that.
    """
    sizes = {"student": student.vocab_size} | ({} if teacher is None else {"teacher": teacher.vocab_size})
    said = ", ".join(f"the {side} has {size:,}" for side, size in sizes.items())
    if vocab_size is None:
        if len(set(sizes.values())) > 1:
            raise UsageError(
                f"vocabularies differ: {said} tokens. If one of them is padded, say how many tokens their common "
                "tokenizer has (vocab_size); models with different tokenizers cannot be compared token by token"
            )
        return student.vocab_size
    if not 1 <= vocab_size <= min(sizes.values()):
        raise UsageError(f"vocab_size is {vocab_size:,}, but {said} tokens")
    return vocab_size


def gather(parameter: Tensor) -> Tensor:
    """Return a parameter whole. Gradients of a sharded one are averaged over ranks, as FSDP2 does with all others."""
    if not hasattr(parameter, "full_tensor"):
        return parameter
    return cast(Tensor, _Gather.apply(parameter))  # type: ignore[no-untyped-call]  # torch


class _Gather(torch.autograd.Function):
    """All-gather forward, reduce-scatter to the mean backward. Any: torch does not type contexts.

    `DTensor.full_tensor` alone would take every rank's gradient to be the same one.
    """

    @staticmethod
    def forward(ctx: Any, sharded: DTensor) -> Tensor:
        ctx.mesh, ctx.placements = sharded.device_mesh, sharded.placements
        return sharded.full_tensor()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor, Partial

        summands = DTensor.from_local(gradient, ctx.mesh, [Partial()] * ctx.mesh.ndim, run_check=False)
        mean: Tensor = summands.redistribute(placements=ctx.placements) / ctx.mesh.size()
        return mean
