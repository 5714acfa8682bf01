"""From a recipe and what a user says otherwise to the stages, run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from timetrial.cli.options import print_tables
from timetrial.clock import MonotonicClock
from timetrial.error import UnknownNameError, UsageError
from timetrial.progress import bar, silent
from timetrial_distillation.distill_recipes import DistillRecipe
from timetrial_distillation.estimate import Estimate, estimate_table, tensor_table
from timetrial_distillation.evaluation import EvaluationConfig
from timetrial_distillation.lineage import check_publishable
from timetrial_distillation.loop import StepLog
from timetrial_distillation.objectives.parameters import TrainedTensor
from timetrial_distillation.origin import OriginModel, find_model
from timetrial_distillation.output import TRAINING_FOLDER, read_json
from timetrial_distillation.progress import training_bar
from timetrial_distillation.run_stage import PUBLISHED_NAME, Stage
from timetrial_distillation.sources import parse_data
from timetrial_distillation.stage_request import Console, StageRequest
from timetrial_distillation.stages import FIRST, StageConfig, steps_for
from timetrial_distillation.trackers import check_trackers
from timetrial_distillation.trainer import Execution, Job
from timetrial_distillation.world import World
from timetrial_plugins.engine.placement import synchronize

NO_TASK = "none"
"""What evaluates on no task, where the name of one can stand."""
Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What the user says; None where the recipe decides. Fields are explained by the command's options."""

    out: Path
    teacher: str | None
    start: str | None
    data: tuple[str, ...]
    stages: tuple[str, ...]
    resume: bool
    registry_name: str | None
    dry_run: bool
    tokens: int | None
    batch_tokens: int | None
    length: int | None
    learning_rate: float | None
    seed: int | None
    micro_rows: int
    precision: str
    checkpointing: bool
    checkpoint_every: int | None
    task: str | None
    evaluate_every: int
    evaluate_problems: int | None
    evaluate_samples: int
    trackers: tuple[str, ...]
    as_json: bool


def run_recipe(recipe: DistillRecipe, choices: Choices, world: World) -> list[Json]:
    """Run the chosen stages of a recipe, each from the result of the one before; return what came out, in order.

    With `dry_run` nothing is trained or written, and the first stage's estimate is all that comes out.

    Raises:
        TimetrialError: something the user can mend; finished stages and checkpoints are kept.
        InterruptedTraining: after saving, when asked to stop.
    """
    if choices.registry_name is not None:
        check_publishable(choices.registry_name)
    check_trackers(choices.trackers)
    configs = _chosen(recipe, choices.stages)
    teacher = find_model(choices.teacher or recipe.teacher) if any(config.has_teacher for config in configs) else None
    clock = MonotonicClock(partial(synchronize, world.device))
    console = open_console(world, is_quiet=choices.as_json)
    results = []
    for number, config in enumerate(configs):
        request = _request(recipe, choices, _changed(config, choices), teacher if config.has_teacher else None, world)
        request = replace(request, start=_start(recipe, choices, config, is_first=number == 0))
        stage = Stage(request, world, clock)
        if choices.dry_run:
            return [{"stage": config.stage, **asdict(stage.plan(console))}]
        results.append(stage.run(console))
    return results


def _chosen(recipe: DistillRecipe, names: Sequence[str]) -> list[StageConfig]:
    known = [config.stage for config in recipe.stages]
    for name in names:
        if name not in known:
            raise UnknownNameError(f"stage of {recipe.name}", name, known)
    return [config for config in recipe.stages if not names or config.stage in names]


def _changed(config: StageConfig, choices: Choices) -> StageConfig:
    """Return a stage as the user wants it; as many tokens as before where only the rows change."""
    length = choices.length or config.length
    batch_tokens = choices.batch_tokens or config.batch_rows * config.length
    batch_rows = max(1, batch_tokens // length)
    loop = replace(
        config.loop,
        num_steps=steps_for(choices.tokens or config.tokens, batch_rows, length),
        learning_rate=config.loop.learning_rate if choices.learning_rate is None else choices.learning_rate,
        checkpoint_every=choices.checkpoint_every or config.loop.checkpoint_every,
    )
    seed = config.seed if choices.seed is None else choices.seed
    return replace(config, loop=loop, length=length, batch_rows=batch_rows, seed=seed)


def _request(
    recipe: DistillRecipe, choices: Choices, config: StageConfig, teacher: OriginModel | None, world: World
) -> StageRequest:
    names = choices.data or recipe.data
    if not names:
        raise UsageError(
            f"recipe {recipe.name!r} comes without data: prepare some (`timetrial distill prepare`) and give its folder"
            " with --data"
        )
    precision = choices.precision
    if precision == "auto":
        precision = "bfloat16" if world.device.type == "cuda" else "float32"
    return StageRequest(
        config=config,
        teacher=teacher,
        start=None,
        shape=recipe.shape,
        data=tuple(parse_data(name) for name in names),
        out=choices.out,
        resume=choices.resume,
        execution=Execution(
            micro_rows=choices.micro_rows, precision="bfloat16" if precision == "bfloat16" else "float32"
        ),
        checkpointing=choices.checkpointing and config.stage not in ("mohawk-1", "mohawk-2"),
        evaluation=_evaluation(recipe, choices),
        trackers=choices.trackers,
        registry_name=choices.registry_name,
        dtype=torch.bfloat16 if config.stage == recipe.stages[-1].stage else torch.float32,
    )


def _evaluation(recipe: DistillRecipe, choices: Choices) -> EvaluationConfig | None:
    task = choices.task or recipe.task
    if task is None or task == NO_TASK:
        return None
    return EvaluationConfig(
        task=task,
        limit=choices.evaluate_problems,
        samples=choices.evaluate_samples,
        every=choices.evaluate_every,
    )


def _start(recipe: DistillRecipe, choices: Choices, config: StageConfig, *, is_first: bool) -> OriginModel | None:
    """Return what a stage goes on with.

    Raises:
        UsageError: nothing is there, or something was given to a stage that makes its student itself.
    """
    if is_first and choices.start is not None:
        if config.stage in FIRST:
            raise UsageError(
                f"{config.stage} makes a new student of its teacher: --from is for later stages (--stage NAME)"
            )
        return find_model(choices.start)
    if config.stage in FIRST:
        return None
    place = recipe.stages.index(config)
    if place == 0:
        return find_model(recipe.teacher)
    previous = recipe.stages[place - 1].stage
    published = choices.out / TRAINING_FOLDER / previous / PUBLISHED_NAME
    if choices.registry_name is not None and published.exists():
        return find_model(read_json(published)["ref"])
    if not (choices.out / previous).is_dir():
        raise UsageError(
            f"{config.stage} goes on with the result of {previous}, and there is none in {choices.out}:"
            " run that stage first, or name a model with --from"
        )
    return find_model(str(choices.out / previous))


def open_console(world: World, *, is_quiet: bool) -> Console:
    """Return how a stage talks on a terminal; processes other than the first say nothing."""

    def plan(stage: str, job: Job, tensors: list[TrainedTensor], found: Estimate) -> None:
        print_tables([tensor_table(job, tensors), estimate_table(stage, found)])

    def no_bar(label: str, num_steps: int) -> AbstractContextManager[Callable[[StepLog], None]]:
        return nullcontext(lambda entry: None)

    if not world.is_first:
        return Console(bar=no_bar)
    return Console(bar=training_bar, progress=silent if is_quiet else bar, **({} if is_quiet else {"plan": plan}))
