"""`timetrial distill mohawk`, `mamba-in-llama` and `finetune`: the stages of a recipe on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from timetrial.cli.options import options, print_json, print_tables
from timetrial.report.table import Table

if TYPE_CHECKING:
    from timetrial_distillation.distill_recipes import DistillRecipe, Method

Decorated = TypeVar("Decorated", bound=Callable[..., Any])  # Any: click's commands
Flags = dict[str, Any]  # Any: click's values

_common = options(
    click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder: each stage's result lies in OUT/STAGE, its log and checkpoints in OUT/training/STAGE.",
    ),
    click.option(
        "--data",
        multiple=True,
        metavar="FOLDER[=WEIGHT]",
        help="Data made by `timetrial distill prepare`, or 'nutshell'. Repeatable: mixed by weight. [default: the"
        " recipe's]",
    ),
    click.option(
        "--from",
        "start",
        metavar="MODEL",
        help="What the first of these stages goes on with: a version, a name or a folder. [default: the stage before"
        " it in OUT, if there is one]",
    ),
    click.option("--stage", "stages", multiple=True, help="Run this stage only. Repeatable. [default: all]"),
    click.option("--resume", is_flag=True, help="Go on with what is in OUT; finished stages are left as they are."),
    click.option("--registry", "registry_name", metavar="NAME", help="Publish every stage as a version of this model."),
    click.option("--dry-run", is_flag=True, help="Only show what the first of these stages trains and takes."),
    click.option("--tokens", type=click.IntRange(min=1), help="Tokens of each stage, instead of the recipe's."),
    click.option("--batch-tokens", type=click.IntRange(min=1), help="Tokens of a step, in whole rows."),
    click.option("--length", type=click.IntRange(min=2), help="Tokens of a row."),
    click.option("--learning-rate", type=float, help="At its peak, for all these stages."),
    click.option("--seed", type=int, help="Of new weights and of the order of the data."),
    click.option(
        "--micro-rows",
        type=click.IntRange(min=1),
        default=8,
        show_default=True,
        help="Rows that go through the model together: memory against speed, nothing else.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "bfloat16"]),
        default="auto",
        show_default=True,
        help="Of products; weights and moments are float32. auto: bfloat16 on CUDA devices.",
    ),
    click.option(
        "--checkpointing", is_flag=True, help="Compute layers again in the backward pass, where a stage runs them all."
    ),
    click.option("--checkpoint-every", type=click.IntRange(min=1), help="Steps between checkpoints."),
    click.option(
        "--evaluate", "task", metavar="TASK", help="Task to evaluate on; 'none': on none. [default: recipe's]"
    ),
    click.option(
        "--evaluate-every",
        type=click.IntRange(min=0),
        default=0,
        help="Steps between evaluations. [default: at the end]",
    ),
    click.option("--evaluate-problems", type=click.IntRange(min=1), help="Problems of an evaluation. [default: all]"),
    click.option(
        "--evaluate-samples",
        type=click.IntRange(min=0),
        default=0,
        help="Completions a problem, for coverage. [default: the greedy answer only]",
    ),
    click.option(
        "--track",
        "trackers",
        multiple=True,
        metavar="TRACKER",
        help="Show figures in tensorboard (event files in OUT/training/STAGE/tensorboard) or wandb too. Repeatable.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ..."),
    click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default PyTorch's choice."),
    click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout."),
)


def _recipe_option(default: str) -> Callable[[Decorated], Decorated]:
    return click.option("--recipe", default=default, show_default=True, help="Name of the recipe (docs).")


_teacher = click.option(
    "--teacher",
    metavar="MODEL",
    help="A name of `timetrial models`, a version, a folder, a Hub id. [default: recipe's]",
)


@click.command()
@_recipe_option("nutshell-llamba")
@_teacher
@_common
def mohawk(**flags: Any) -> None:  # Any: click passes every option by name
    """Distil a Llama into a Llamba: mohawk-1 matrices, mohawk-2 hidden states, mohawk-3 end to end.

    Ctrl-C or SIGTERM saves after the step in progress, and --resume goes on as if nothing had happened. Under torchrun
    (`torchrun --nproc-per-node 8 -m timetrial distill mohawk ...`) all processes train together.
    """
    _run("mohawk", flags)


@click.command("mamba-in-llama")
@_recipe_option("nutshell-mamba-in-llama")
@_teacher
@_common
def mamba_in_llama(**flags: Any) -> None:  # Any: click passes every option by name
    """Distil a Llama into a MambaInLlama: hybrid-kd from its attention weights, then sft.

    Ctrl-C or SIGTERM saves after the step in progress, and --resume goes on as if nothing had happened. Under torchrun
    (`torchrun --nproc-per-node 8 -m timetrial distill mamba-in-llama ...`) all processes train together.
    """
    _run("mamba-in-llama", flags)


@click.command()
@_recipe_option("nutshell-ft")
@_common
def finetune(**flags: Any) -> None:  # Any: click passes every option by name
    """Fine-tune any model on the answers of the data: students after distillation, or as a control their teacher.

    --from names the model; without it, it is the one that the recipe is for.
    """
    _run("finetune", {**flags, "teacher": None})


def _run(method: Method, flags: Flags) -> None:
    import torch

    from timetrial_distillation.distill_recipes import find_distill_recipe
    from timetrial_distillation.interruption import resumable_command
    from timetrial_distillation.run_recipe import Choices, run_recipe
    from timetrial_distillation.world import opened_world

    recipe = find_distill_recipe(flags.pop("recipe"), method)
    threads, device = flags.pop("threads"), flags.pop("device")
    if threads is not None:
        torch.set_num_threads(threads)
    choices = Choices(**flags)
    with resumable_command(), opened_world(device) as world:
        results = run_recipe(recipe, choices, world)
        if choices.as_json and world.is_first:
            print_json(results)
        elif not choices.dry_run and world.is_first:
            print_tables([_summary(recipe, results)])


def _summary(recipe: DistillRecipe, results: Iterable[Flags]) -> Table:
    rows = []
    for result in results:
        found = result["evaluation"]
        rows.append(
            (
                result["stage"],
                result["folder"],
                result["published"] or "-",
                f"{result['num_steps']:,}",
                f"{result['elapsed_s']:,.0f}",
                f"{result['first_loss']:.4g}",
                f"{result['final_loss']:.4g}",
                f"{found['accuracy']:.1%}" if found else "-",
                f"{found['coverage']:.1%}" if found and found["coverage"] is not None else "-",
            )
        )
    heads = ("Stage", "Folder", "Version", "Steps", "Seconds", "First loss", "Final loss", "acc@1", "Coverage")
    return Table(title=recipe.name, columns=heads, rows=tuple(rows), num_text_columns=3)
