"""`timetrial distill reward-model`: train a verifier on labelled steps, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from timetrial.cli.options import print_json, print_tables
from timetrial.report.table import Table

if TYPE_CHECKING:
    from timetrial_distillation.rewards.training import Json

PRECISIONS = ("float32", "bfloat16")


@click.command("reward-model")
@click.option("--recipe", default="nutshell-prm", show_default=True, help="Name of the recipe (docs).")
@click.option(
    "--data",
    multiple=True,
    metavar="LABELS",
    help="A folder made by `timetrial distill label-steps`, a JSON or Parquet file, or a Hub id (org/name or"
    " org/name:split). Repeatable. [default: the recipe's]",
)
@click.option(
    "--layout", default="auto", show_default=True, help="How records of --data are read (docs); auto: by columns."
)
@click.option("--limit", type=click.IntRange(min=1), help="Solutions to learn from: the first so many of the data.")
@click.option("--init", metavar="MODEL", help="What it starts from: a name, a version, a folder. [default: recipe's]")
@click.option(
    "--labels",
    type=click.Choice(["hard", "soft"]),
    help="hard: whether any rollout was right; soft: the share that was. [default: recipe's]",
)
@click.option(
    "--replies",
    type=click.Choice(["plus", "labels"]),
    help="What stands behind earlier steps: +, as when it scores, or their labels, as RLHFlow has it. [default:"
    " recipe's]",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder: the model lies in OUT/reward-model, its log and checkpoints in OUT/training/reward-model.",
)
@click.option("--resume", is_flag=True, help="Go on with what is in OUT; a finished model is left as it is.")
@click.option("--registry", "registry_name", metavar="NAME", help="Publish it as a version of this model.")
@click.option("--dry-run", is_flag=True, help="Only show what is trained and what it takes.")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Times each solution is seen.")
@click.option("--batch-rows", type=click.IntRange(min=1), help="Rows of a step, over all processes.")
@click.option("--length", type=click.IntRange(min=2), help="Tokens of a row; longer solutions are left out.")
@click.option("--learning-rate", type=float, help="At its peak.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order of the solutions.")
@click.option(
    "--micro-rows",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Rows that go through the model together: memory against speed, nothing else.",
)
@click.option(
    "--precision", type=click.Choice(PRECISIONS), help="Of products. [default: bfloat16 on CUDA devices, else float32]"
)
@click.option("--checkpointing", is_flag=True, help="Compute layers again in the backward pass: less memory.")
@click.option("--checkpoint-every", type=click.IntRange(min=1), default=100, show_default=True, help="Steps between.")
@click.option(
    "--held-out",
    multiple=True,
    metavar="LABELS",
    help="Labelled solutions it does not learn from: its quality on them is shown, written to"
    " OUT/training/reward-model/quality.json, and published with it. Repeatable.",
)
@click.option(
    "--track",
    "trackers",
    multiple=True,
    metavar="TRACKER",
    help="Show figures in tensorboard (event files in OUT/training/reward-model/tensorboard) or wandb too. Repeatable.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default PyTorch's choice.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
def reward_model(recipe: str, device: str, threads: int | None, **flags: Any) -> None:  # Any: click's values
    """Train a process or outcome reward model on labelled steps.

    A step's score becomes the odds of "+" against "-" in the recipe's format. The checkpoint says how it is read, so
    that `prm:OUT/reward-model` scores with it anywhere a reward model is asked for. Ctrl-C or SIGTERM saves after the
    step in progress, and --resume goes on as if nothing had happened.
    """
    import torch

    from timetrial_distillation.interruption import resumable_command
    from timetrial_distillation.rewards.recipes import find_reward_recipe
    from timetrial_distillation.rewards.training import RewardChoices, train_reward_model
    from timetrial_distillation.world import opened_world

    found = find_reward_recipe(recipe)
    if threads is not None:
        torch.set_num_threads(threads)
    choices = RewardChoices(**flags)
    with resumable_command(), opened_world(device) as world:
        result = train_reward_model(found, choices, world)
        if choices.as_json and world.is_first:
            print_json(result)
        elif not choices.dry_run and world.is_first:
            print_tables([_summary(recipe, result), *_quality(result)])


def _summary(recipe: str, result: Json) -> Table:
    cells = (
        result["folder"],
        result["published"] or "-",
        f"{result['solutions']:,}",
        f"{sum(result['left_out'].values()):,}",
        f"{result['num_steps']:,}",
        f"{result['elapsed_s']:,.0f}",
        f"{result['first_loss']:.4g}",
        f"{result['final_loss']:.4g}",
    )
    left_out = [f"left out, {reason}: {number:,}" for reason, number in result["left_out"].items()]
    heads = ("Folder", "Version", "Solutions", "Left out", "Steps", "Seconds", "First loss", "Final loss")
    return Table(
        title=recipe,
        columns=heads,
        rows=(cells,),
        num_text_columns=2,
        note="; ".join([f"score with it: --reward-model prm:{result['folder']}", *left_out]),
    )


def _quality(result: Json) -> list[Table]:
    found = result.get("held_out")
    if found is None:
        return []
    rows = [
        (kind, f"{each['num_steps']:,}", *(_cell(each[name]) for name in ("step_auc", "last_auc", "ece", "brier")))
        for kind, each in found["quality"].items()
    ]
    heads = ("Labels", "Steps", "Step AUC", "Last AUC", "ECE", "Brier")
    return [Table(title=f"On {', '.join(found['data'])}", columns=heads, rows=tuple(rows))]


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
