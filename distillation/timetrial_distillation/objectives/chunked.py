"""The token loss from hidden states and head weights, a chunk of places at a time: (N, V) never exists for all N.

The gradients are computed in the forward pass, by the closed forms, while a chunk's logits are there; the backward pass
only hands them on, so nothing is computed twice and no logits are kept. That is also what backpropagating every chunk
by itself would do, without a pass through autograd for each.

Shapes: N places, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from timetrial_distillation.objectives.token_loss import TokenLoss, TokenSums, evaluate
from timetrial_plugins.models.scan.precision import widen

CHUNK_SIZE = 256
"""Places whose logits exist at a time: for a vocabulary of 128,256 about 0.13 GB in float32, three times over."""
_GRADIENT_ROWS = 8192  # of a head in half precision, whose gradient is summed in float32 by so many rows at a time


class Projection(NamedTuple):
    """Logits that are not there yet: hidden states and the head that multiplies them."""

    hidden: Tensor  # (N, D), behind the final norm
    weight: Tensor  # (V or more, D): rows after the vocabulary are padding and give no logit
    bias: Tensor | None  # (V or more,)

    def detach(self) -> Projection:
        """Return the same without gradients."""
        return Projection(self.hidden.detach(), self.weight.detach(), None if self.bias is None else self.bias.detach())


class ChunkPlan(NamedTuple):
    """How the loss is computed, apart from tensors."""

    loss: TokenLoss
    vocab_size: int
    """V; both heads are cut to it."""
    chunk_size: int = CHUNK_SIZE
    """Places at a time; changes memory and speed only."""


class Head(NamedTuple):
    """A projection's weights as they are multiplied: the vocabulary only, in one number format."""

    weight: Tensor  # (V, D)
    bias: Tensor | None  # (V,)

    def logits(self, hidden: Tensor) -> Tensor:  # (n, D) -> (n, V)
        """Return logits in float32, or wider, that nobody else holds."""
        return widen(functional.linear(hidden.to(self.weight.dtype), self.weight, self.bias))


def chunked_loss(
    student: Projection, teacher: Projection | None, labels: Tensor | None, plan: ChunkPlan, scale: float = 1.0
) -> TokenSums:
    """Return the loss summed over places and multiplied by `scale`, with gradients of the student's projection.

    The product with the head is done in the type of the hidden states, or of autocast where it is on; everything
    after it in float32 or wider. Any N will do, 0 too.

    Args:
        student: receives gradients, as far as its tensors require any.
        teacher: its logits are constants; None if the loss needs none.
        labels: (N,), each a token; None if the loss needs none.
        plan: what is computed, and how.
        scale: of loss and gradients, so that the backward pass need not copy the head's to multiply it. The reported
            parts `divergence` and `cross_entropy` are not scaled and have no gradients.
    """
    device = student.hidden.device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    call = _Call(None if teacher is None else teacher.detach(), labels, plan, scale, autocast, torch.is_grad_enabled())
    outputs = _ChunkedLoss.apply(*student, call)  # type: ignore[no-untyped-call]  # torch
    return TokenSums(*outputs)


class _Call(NamedTuple):
    """What has no gradients."""

    teacher: Projection | None
    labels: Tensor | None
    plan: ChunkPlan
    scale: float
    autocast: torch.dtype | None
    """What products are done in; None: in the type of the hidden states."""
    with_gradients: bool

    def head(self, projection: Projection) -> Head:
        """Return the head of a projection."""
        dtype, size = self.autocast or projection.hidden.dtype, self.plan.vocab_size
        bias = None if projection.bias is None else projection.bias[:size].to(dtype)
        return Head(projection.weight[:size].to(dtype), bias)


class _ChunkedLoss(torch.autograd.Function):
    """`chunked_loss` for autograd. Any: torch does not type contexts."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, call: _Call
    ) -> tuple[Tensor, Tensor, Tensor]:
        student = Projection(hidden, weight, bias)
        sink = _GradientSink.of(student, ctx.needs_input_grad[:3] if call.with_gradients else (False,) * 3)
        with torch.autocast(hidden.device.type, enabled=False):
            sums = _run(student, call, sink)
        ctx.is_wanted = [gradient is not None for gradient in sink]
        ctx.save_for_backward(*(gradient for gradient in sink if gradient is not None))
        ctx.mark_non_differentiable(sums.divergence, sums.cross_entropy)
        return call.scale * sums.loss, sums.divergence, sums.cross_entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        # Saved tensors are let go of before gradients are accumulated, so a leaf takes its gradient without a copy.
        is_unit = bool(of_loss == 1)
        saved = (gradient if is_unit else gradient * of_loss for gradient in ctx.saved_tensors)
        return *(next(saved) if is_wanted else None for is_wanted in ctx.is_wanted), None


class _GradientSink(NamedTuple):
    """Sums of gradients; None where nobody wants one."""

    hidden: Tensor | None  # (N, D)
    weight: Tensor | None  # as the projection's, in float32 or wider
    bias: Tensor | None

    @classmethod
    def of(cls, projection: Projection, is_wanted: tuple[bool, ...]) -> _GradientSink:
        """Return zeros in the shapes of what is wanted."""
        wide = widen(projection.hidden.new_empty(())).dtype
        types = (projection.hidden.dtype, wide, wide)
        return cls(
            *(
                torch.zeros_like(part, dtype=dtype) if wanted and part is not None else None
                for part, dtype, wanted in zip(projection, types, is_wanted, strict=True)
            )
        )

    @property
    def is_empty(self) -> bool:
        return self.hidden is None and self.weight is None and self.bias is None

    def add(self, rows: slice, of_logits: Tensor, hidden: Tensor, head: Head) -> None:
        """Add what a chunk contributes: `of_logits` (n, V), at `hidden` (n, D)."""
        if self.bias is not None:
            self.bias[: of_logits.shape[1]] += of_logits.sum(0)
        of_logits = of_logits.to(head.weight.dtype)
        if self.hidden is not None:
            self.hidden[rows] = of_logits @ head.weight
        if self.weight is not None:
            _add_product(self.weight[: of_logits.shape[1]], of_logits, hidden.to(head.weight.dtype))


def _run(student: Projection, call: _Call, sink: _GradientSink) -> TokenSums:
    """Return the unscaled sums; the scaled gradients go into the sink."""
    teacher, labels, plan = call.teacher, call.labels, call.plan
    head, its_head = call.head(student), None if teacher is None else call.head(teacher)
    totals = TokenSums(*(widen(student.hidden.new_zeros(())) for _ in TokenSums._fields))
    for first in range(0, len(student.hidden), plan.chunk_size):
        rows = slice(first, first + plan.chunk_size)
        evaluation = evaluate(
            plan.loss,
            head.logits(student.hidden[rows]),
            None if teacher is None or its_head is None else its_head.logits(teacher.hidden[rows]),
            None if labels is None else labels[rows],
        )
        totals = TokenSums(*(total + part for total, part in zip(totals, evaluation.sums, strict=True)))
        if not sink.is_empty:
            sink.add(rows, evaluation.gradient.mul_(call.scale), student.hidden[rows], head)
        del evaluation  # or its gradient would stay while the next chunk's logits are made
    return totals


def _add_product(total: Tensor, of_logits: Tensor, hidden: Tensor) -> None:
    """Add `of_logits`^T `hidden` to `total` (V, D), which may be wider than they are."""
    if total.dtype == hidden.dtype:
        total.addmm_(of_logits.T, hidden)
        return
    for first in range(0, len(total), _GRADIENT_ROWS):
        rows = slice(first, first + _GRADIENT_ROWS)
        total[rows] += of_logits[:, rows].T @ hidden
