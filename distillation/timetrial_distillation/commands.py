"""`timetrial distill`: the recipes of this package on the command line."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timetrial.clock import MonotonicClock
from timetrial_distillation.prepare_command import prepare
from timetrial_distillation.rewards.evaluate_command import evaluate_reward_model
from timetrial_distillation.rewards.label_command import label_steps
from timetrial_distillation.rewards.train_command import reward_model
from timetrial_distillation.stage_commands import finetune, mamba_in_llama, mohawk

if TYPE_CHECKING:
    from timetrial_distillation.pretrain import PretrainConfig, PretrainResult


@click.group()
def distill() -> None:
    """Train models by named recipes."""


for command in (prepare, mohawk, mamba_in_llama, finetune, label_steps, reward_model, evaluate_reward_model):
    distill.add_command(command)


@distill.command()
@click.option("--recipe", default="nutshell-llama", show_default=True, help="Name of the recipe.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the model. Must be empty or absent, unless --resume is given.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in the output folder.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps, instead of the recipe's.")
@click.option("--seed", type=int, help="Seed of weights and data, instead of the recipe's.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default PyTorch's choice.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def pretrain(  # noqa: PLR0913  # one parameter an option
    recipe: str,
    out: Path,
    resume: bool,
    steps: int | None,
    seed: int | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train a model from scratch on generated problems.

    Ctrl-C saves a checkpoint; the same command with --resume goes on from there, and ends with the same weights as
    an undisturbed run on the same machine with the same number of threads.
    """
    import torch

    from timetrial_distillation.pretrain import pretrain as run_pretraining
    from timetrial_distillation.progress import training_bar
    from timetrial_distillation.recipes import find_pretrain_recipe

    config = _override(find_pretrain_recipe(recipe).config, steps, seed)
    if threads is not None:
        torch.set_num_threads(threads)
    with training_bar(recipe, config.loop.num_steps) as report:
        result = run_pretraining(config, out, clock=MonotonicClock(), resume=resume, report=report)
    click.echo(json.dumps(asdict(result)) if as_json else _summary(result, out))


def _override(config: PretrainConfig, steps: int | None, seed: int | None) -> PretrainConfig:
    if steps is not None:
        config = replace(config, loop=replace(config.loop, num_steps=steps))
    if seed is not None:
        config = replace(config, seed=seed, stream=replace(config.stream, seed=seed))
    return config


def _summary(result: PretrainResult, out: Path) -> str:
    return (
        f"{out}: {result.num_parameters:,} parameters, {result.num_steps:,} steps,"
        f" {result.tokens_seen:,} tokens in {result.elapsed_s:,.0f} s, final loss {result.final_loss:.4f}"
    )
