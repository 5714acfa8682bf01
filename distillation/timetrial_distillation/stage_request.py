"""What a stage is asked to do, what comes out of it, and how it talks while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from timetrial.progress import ProgressFactory, silent
from timetrial_distillation.data.rows import RowSource
from timetrial_distillation.estimate import Estimate
from timetrial_distillation.evaluation import Evaluation, EvaluationConfig
from timetrial_distillation.loop import StepLog
from timetrial_distillation.objectives.parameters import TrainedTensor
from timetrial_distillation.objectives.stage import StageObjective
from timetrial_distillation.origin import OriginModel
from timetrial_distillation.output import TRAINING_FOLDER
from timetrial_distillation.sources import DataName
from timetrial_distillation.stages import StageConfig
from timetrial_distillation.student import Shape
from timetrial_distillation.trainer import Execution, Job
from timetrial_plugins.rewards.declaration import Declaration
from timetrial_registry.records import Parent


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lesson:
    """What the stage reward-model learns: labelled solutions, which no stage of distillation knows."""

    source: RowSource
    objective: StageObjective
    described: Mapping[str, Any]  # Any: JSON
    """What decides about both, beside the digest of the source."""
    declaration: Declaration
    """How the result reads solutions."""
    labellers: tuple[Parent, ...] = ()
    """The models that the labels are from, where that is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRequest:
    """What is to be done."""

    config: StageConfig
    teacher: OriginModel | None
    """None for sft."""
    start: OriginModel | None
    """What the stage goes on with; None: a student of the teacher, of this shape."""
    shape: Shape | None
    data: tuple[DataName, ...]
    lesson: Lesson | None = None
    """What is learned instead of the rows of `data`, which then only names where it came from."""
    out: Path
    resume: bool = False
    execution: Execution
    checkpointing: bool = False
    """Compute layers again in the backward pass instead of keeping their insides."""
    evaluation: EvaluationConfig | None = None
    trackers: tuple[str, ...] = ()
    """Where figures are shown besides the log (see `trackers`)."""
    registry_name: str | None = None
    """What to publish the result as; None: not at all."""
    dtype: torch.dtype = torch.float32
    """Of the weights that come out; a next stage goes on from exactly those."""

    @property
    def folder(self) -> Path:
        """Where the result goes."""
        return self.out / self.config.stage

    @property
    def training_folder(self) -> Path:
        """Where everything else goes."""
        return self.out / TRAINING_FOLDER / self.config.stage

    @property
    def tokenizer_model(self) -> OriginModel:
        """The model whose tokenizer everything uses."""
        model = self.teacher or self.start
        assert model is not None, "a stage has a teacher or something to start from"
        return model


@dataclass(frozen=True, kw_only=True, slots=True)
class StageResult:
    """What came out; most of it is also in training.json beside the weights."""

    stage: str
    folder: str
    num_steps: int
    tokens_seen: int
    elapsed_s: float
    first_loss: float
    """Mean over the first twentieth of the steps."""
    final_loss: float
    """Mean over the last twentieth."""
    evaluation: Evaluation | None
    published: str | None
    """The version it became."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Console:
    """How a stage talks; a library caller need not listen."""

    plan: Callable[[str, Job, list[TrainedTensor], Estimate], None] = lambda stage, job, tensors, found: None
    """Called before training starts, in the first process."""
    bar: Callable[[str, int], AbstractContextManager[Callable[[StepLog], None]]]
    progress: ProgressFactory = silent
