"""Train a reward model by a recipe: labels to rows, one stage of training, and a folder that says how it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from timetrial.catalog import open_catalog
from timetrial.clock import MonotonicClock
from timetrial.error import UsageError
from timetrial.spec import LoadOptions
from timetrial_distillation.data.adapters import AUTO
from timetrial_distillation.data.plan import PlanConfig
from timetrial_distillation.lineage import check_publishable
from timetrial_distillation.objectives.step_labels import StepLabels
from timetrial_distillation.origin import OriginModel, find_model
from timetrial_distillation.rewards.data import LabelData, open_labels
from timetrial_distillation.rewards.evaluation import evaluate_reward_model
from timetrial_distillation.rewards.held_out import keep_quality
from timetrial_distillation.rewards.labels import LabelKind
from timetrial_distillation.rewards.problems import TEST
from timetrial_distillation.rewards.recipes import RewardRecipe
from timetrial_distillation.rewards.rows import LabelledRows, Reading, Replies
from timetrial_distillation.run_recipe import open_console
from timetrial_distillation.run_stage import Stage
from timetrial_distillation.sources import DataName
from timetrial_distillation.stage_request import Lesson, StageRequest
from timetrial_distillation.stages import StageConfig
from timetrial_distillation.trackers import check_trackers
from timetrial_distillation.trainer import Execution, LoopConfig, Precision
from timetrial_distillation.world import World
from timetrial_plugins.engine.placement import synchronize

STAGE = "reward-model"
Json = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardChoices:
    """What the user says; None where the recipe decides. Fields are explained by the command's options."""

    out: Path
    data: tuple[str, ...] = ()
    layout: str = AUTO
    limit: int | None = None
    init: str | None = None
    labels: LabelKind | None = None
    replies: Replies | None = None
    resume: bool = False
    registry_name: str | None = None
    dry_run: bool = False
    epochs: float | None = None
    batch_rows: int | None = None
    length: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    micro_rows: int = 8
    precision: Precision | None = None
    checkpointing: bool = False
    checkpoint_every: int = 100
    held_out: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()
    as_json: bool = False


def train_reward_model(recipe: RewardRecipe, choices: RewardChoices, world: World) -> Json:
    """Train by a recipe into OUT/reward-model; return what came out, or with `dry_run` what it would take.

    Raises:
        TimetrialError: something the user can mend; checkpoints are kept.
        InterruptedTraining: after saving, when asked to stop.
    """
    if choices.registry_name is not None:
        check_publishable(choices.registry_name)
    check_trackers(choices.trackers)
    recipe = _changed(recipe, choices)
    if not recipe.data:
        raise UsageError(
            f"recipe {recipe.name!r} comes without labels: make some (`timetrial distill label-steps`) and give their"
            " folder with --data, or a file or a data set on the Hub"
        )
    console = open_console(world, is_quiet=choices.as_json)
    start = find_model(recipe.model)
    data = open_labels(recipe.data, layout=choices.layout, limit=choices.limit, progress=console.progress)
    _refuse_test_problems(data)
    plan = PlanConfig(length=recipe.length, seed=choices.seed)
    rows = LabelledRows(data, recipe.reading, start.tokenizer, plan, console.progress)
    request = _request(recipe, choices, world, data, rows, start)
    stage = Stage(request, world, MonotonicClock(partial(synchronize, world.device)))
    if choices.dry_run:
        return {"stage": STAGE, **asdict(stage.plan(console))}
    left_out = {**data.left_out, **({"longer than a row": rows.num_too_long} if rows.num_too_long else {})}
    result = {**stage.run(console), "solutions": len(data.solutions), "left_out": left_out}
    if choices.held_out and world.is_first:
        held_out = open_labels(choices.held_out, layout=choices.layout, progress=console.progress)
        options = LoadOptions(device=world.device.type)
        found = evaluate_reward_model(f"prm:{request.folder}", held_out, open_catalog(), options, console.progress)
        keep_quality(found, request.training_folder, result["published"])
        result["held_out"] = found.to_json()
    return result


def _changed(recipe: RewardRecipe, choices: RewardChoices) -> RewardRecipe:
    """Return the recipe as the user wants it."""
    said = {name: getattr(choices, name) for name in ("epochs", "batch_rows", "length", "learning_rate")}
    said |= {"model": choices.init, "data": choices.data or None}
    reading = {name: getattr(choices, name) for name in ("labels", "replies")}
    changed: Reading = replace(recipe.reading, **{name: value for name, value in reading.items() if value is not None})
    return replace(recipe, reading=changed, **{name: value for name, value in said.items() if value is not None})


def _refuse_test_problems(data: LabelData) -> None:
    for request in data.requests:
        if request["problems"]["source"] == TEST:
            raise UsageError(
                f"the labels are of the problems of the task {request['problems']['task']!r} itself: a reward model"
                " that learns from them is worth nothing there. Use them with --held-out, and train on other problems"
            )


def _request(
    recipe: RewardRecipe, choices: RewardChoices, world: World, data: LabelData, rows: LabelledRows, start: OriginModel
) -> StageRequest:
    num_steps = math.ceil(recipe.epochs * rows.rows_per_epoch() / recipe.batch_rows)
    config = StageConfig(
        stage="reward-model",
        loop=LoopConfig(
            num_steps=num_steps,
            learning_rate=recipe.learning_rate,
            schedule=recipe.schedule,
            weight_decay=recipe.weight_decay,
            checkpoint_every=choices.checkpoint_every,
        ),
        batch_rows=recipe.batch_rows,
        length=recipe.length,
        seed=choices.seed,
    )
    objective = StepLabels(
        plus=rows.labels.plus, minus=rows.labels.minus, loss=recipe.loss, checkpointing=choices.checkpointing
    )
    return StageRequest(
        config=config,
        teacher=None,
        start=start,
        shape=None,
        data=tuple(DataName(name, 1.0) for name in recipe.data),
        lesson=Lesson(
            source=rows,
            objective=objective,
            described={
                "reading": asdict(recipe.reading),
                "loss": recipe.loss,
                "limit": choices.limit,
                "labelled_by": data.requests,
            },
            declaration=recipe.reading.declaration,
            labellers=data.labellers(),
        ),
        out=choices.out,
        resume=choices.resume,
        execution=Execution(micro_rows=choices.micro_rows, precision=_precision(choices, world)),
        trackers=choices.trackers,
        registry_name=choices.registry_name,
        dtype=torch.bfloat16,
    )


def _precision(choices: RewardChoices, world: World) -> Precision:
    return choices.precision or ("bfloat16" if world.device.type == "cuda" else "float32")
