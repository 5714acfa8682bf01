"""The stages of the recipes: what each learns, by which config, and what it has to start from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from timetrial.error import UsageError
from timetrial_distillation.data.plan import Mode
from timetrial_distillation.objectives.end_to_end import EndToEnd
from timetrial_distillation.objectives.hidden_states import HiddenStateAlignment
from timetrial_distillation.objectives.orientation import MatrixOrientation
from timetrial_distillation.objectives.stage import Model, StageObjective
from timetrial_distillation.objectives.token_loss import TokenLoss
from timetrial_distillation.trainer import LoopConfig
from timetrial_plugins.models.llama import Llama

StageName = Literal["mohawk-1", "mohawk-2", "mohawk-3", "hybrid-kd", "sft", "reward-model"]
PREVIOUS: Mapping[StageName, StageName] = {"mohawk-2": "mohawk-1", "mohawk-3": "mohawk-2"}
"""The stage whose result a stage goes on with; the first of a method makes the student, and sft takes any model."""
FIRST: tuple[StageName, ...] = ("mohawk-1", "hybrid-kd")
"""Stages that begin with a student made of the teacher."""
SFT_LOSS = TokenLoss(kl_weight=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageConfig:
    """One stage: everything its weights are a function of, apart from teacher, start and data."""

    stage: StageName
    loop: LoopConfig
    batch_rows: int
    """Rows a step, over all processes."""
    length: int
    """Tokens a row."""
    mode: Mode = "bfd"
    """How documents are arranged: bfd whole, concat cut where a row ends."""
    token_loss: TokenLoss = field(default_factory=TokenLoss)
    """Of mohawk-3, hybrid-kd and sft."""
    seed: int = 0
    """Of the order of the data, and of what is drawn for a new student."""

    def __post_init__(self) -> None:
        """Refuse values that no stage can have.

        Raises:
            UsageError: names the field.
        """
        for name in ("batch_rows", "length"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.stage == "sft" and self.token_loss.needs_teacher:
            raise UsageError("fine-tuning has no teacher: its token_loss needs a kl_weight of 0")

    @property
    def tokens(self) -> int:
        """Places of all rows, padding included."""
        return self.loop.num_steps * self.batch_rows * self.length

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher takes part in every step."""
        return self.stage not in ("sft", "reward-model")


def steps_for(tokens: int, batch_rows: int, length: int) -> int:
    """Return the steps that take so many tokens."""
    return math.ceil(tokens / (batch_rows * length))


def make_objective(config: StageConfig, teacher: Model | None, *, checkpointing: bool = False) -> StageObjective:
    """Return what the stage learns.

    Args:
        config: of the stage.
        teacher: frozen by it; None for sft.
        checkpointing: compute layers again in the backward pass; for the stages that train end to end.

    Raises:
        UsageError: this teacher cannot teach it, or the stage takes its layers one by one anyway.
    """
    if config.stage in ("mohawk-1", "mohawk-2") and checkpointing:
        raise UsageError(
            f"{config.stage} holds one layer's graph at a time: there is nothing that gradient checkpointing would save"
        )
    if config.stage == "mohawk-1":
        if not isinstance(teacher, Llama):
            raise UsageError(f"mohawk-1 needs a Llama's attention; the teacher is a {type(teacher).__name__}")
        return MatrixOrientation(teacher=teacher)
    if config.stage == "mohawk-2":
        return HiddenStateAlignment(teacher=cast(Model, teacher))
    return EndToEnd(
        teacher=teacher,
        token_loss=config.token_loss,
        places="all" if config.stage == "mohawk-3" else "labels",
        checkpointing=checkpointing,
    )
