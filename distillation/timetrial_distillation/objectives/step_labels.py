"""What a reward model learns: the odds of "+" against "-" where a step's score is read.

With d the difference of both logits, p = sigmoid(d) the score, and t the share of "+" that is wanted:

    pair          -t log p - (1 - t) log (1 - p)
    vocabulary    -t log q(+) - (1 - t) log q(-),  q the softmax over all tokens
                  = pair - log (q(+) + q(-))

The second is what fine-tuning on RLHFlow's conversations minimises; its last term only says that one of the two tokens
comes, which no score depends on. The first is a proper scoring rule of the score itself.
Shapes: N places, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from timetrial.error import UnknownNameError
from timetrial_distillation.data.rows import IGNORED, Rows
from timetrial_distillation.objectives.heads import project
from timetrial_distillation.objectives.stage import WHOLE, Model, Piece, StageObjective, TrainedRows
from timetrial_distillation.objectives.teacher import encode

StepLoss = Literal["pair", "vocabulary"]
STEP_LOSSES: tuple[StepLoss, ...] = get_args(StepLoss)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StepLabels(StageObjective):
    """The loss of the labels of steps; a unit is a step."""

    plus: int
    """The token of "+", and of a label's place in the rows."""
    minus: int
    """The token of "-"."""
    loss: StepLoss = "pair"
    checkpointing: bool = False
    """Compute each layer again in the backward pass instead of keeping its inside."""
    name: str = "step-labels"

    def __post_init__(self) -> None:
        """Refuse what is no loss.

        Raises:
            UnknownNameError: there is none of that name.
        """
        if self.loss not in STEP_LOSSES:
            raise UnknownNameError("loss of step labels", str(self.loss), STEP_LOSSES)

    def trained(self, student: Model) -> TrainedRows:
        """Return all parameters."""
        return dict.fromkeys([name for name, _ in student.named_parameters()], WHOLE)

    def count(self, rows: Rows) -> int:
        """Return the number of steps."""
        return int((rows.labels != IGNORED).sum())

    def losses(self, student: Model, rows: Rows, scale: float) -> Iterator[Piece]:
        """Yield the one loss; with it, the share of steps that 0.5 tells right from wrong."""
        assert rows.shares is not None, "rows of labelled steps say how much of each label is wanted"
        places = rows.labels != IGNORED  # (B, T)
        targets = rows.shares[places]  # (N,)
        hidden = encode(student, rows, checkpointing=self.checkpointing)
        both = self._both(student, hidden[places])  # (N, 2)
        loss = -(targets * both[:, 0] + (1 - targets) * both[:, 1]).sum()
        told = ((both[:, 0] > both[:, 1]) == (targets > 0.5)).sum()
        yield Piece(loss * scale, loss.detach(), {"accuracy": told.to(loss.dtype)})

    def _both(self, student: Model, hidden: Tensor) -> Tensor:  # (N, D) -> (N, 2)
        """Return the logarithms of the probabilities of "+" and "-", in float32 or wider."""
        _, weight, bias = project(student, hidden)
        chosen = [self.plus, self.minus]
        if self.loss == "pair":
            weight, bias = weight[chosen], None if bias is None else bias[chosen]
        with torch.autocast(hidden.device.type, enabled=False):
            found = torch.log_softmax(functional.linear(hidden.to(weight.dtype), weight, bias), -1)
        return found if self.loss == "pair" else found[:, chosen]
