"""`timetrial distill label-steps`: label solutions by rollouts, on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from timetrial.cli.options import print_json, print_tables
from timetrial.progress import bar, silent
from timetrial.report.table import Table


@click.command("label-steps")
@click.option(
    "--model", required=True, metavar="MODEL", help="Who solves the problems and goes on from the steps: as for `run`."
)
@click.option("--task", required=True, metavar="TASK", help="Who poses and grades the problems (`timetrial tasks`).")
@click.option(
    "--problems",
    default="training",
    show_default=True,
    metavar="training|test|FILE|HUB-ID",
    help="Which problems: the nutshell's training stream, the task's own (for evaluation only), or a data set with"
    " problem and answer.",
)
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="Problems to pass over.")
@click.option("--count", type=click.IntRange(min=1), default=1000, show_default=True, help="Problems to label.")
@click.option(
    "--samples", type=click.IntRange(min=1), default=15, show_default=True, help="Solutions a problem, as RLHFlow has."
)
@click.option(
    "--rollouts",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    help="Continuations of each step; 0: the solution's own outcome labels all its steps.",
)
@click.option("--temperature", type=click.FloatRange(min=0, min_open=True), default=0.8, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of problems, solutions and rollouts.")
@click.option(
    "--splitter", default="blank-line", show_default=True, help="What separates steps: blank-line, newline or marker."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the labels. The same command again goes on with it.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True, help="Completions at a time.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default PyTorch's choice.")
@click.option("--json", "as_json", is_flag=True, help="Print the index as JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def label_steps(out: Path, threads: int | None, **flags: Any) -> None:  # Any: click's values
    """Label the steps of sampled solutions by rollouts from each of them (Math-Shepherd).

    From the end of every step the model goes on --rollouts times; the label is how many of these end with the right
    answer. A last step is labelled by the solution's own answer. Training takes the labels hard (any) or soft (share).
    """
    import torch

    from timetrial.catalog import open_catalog
    from timetrial.spec import LoadOptions
    from timetrial_distillation.rewards.labelling import LabelRequest
    from timetrial_distillation.rewards.labelling import label_steps as run_labelling
    from timetrial_distillation.rewards.problems import ProblemChoice
    from timetrial_distillation.rewards.rollouts import RolloutConfig

    if threads is not None:
        torch.set_num_threads(threads)
    request = LabelRequest(
        model=flags["model"],
        problems=ProblemChoice(
            task=flags["task"],
            source=flags["problems"],
            start=flags["start"],
            count=flags["count"],
            seed=flags["seed"],
        ),
        rollouts=RolloutConfig(**{name: flags[name] for name in ("samples", "rollouts", "temperature", "seed")}),
        splitter=flags["splitter"],
    )
    options = LoadOptions(device=flags["device"], dtype=flags["dtype"])
    progress = silent if flags["quiet"] or flags["as_json"] else bar
    index = run_labelling(request, out, open_catalog(), options, batch_size=flags["batch_size"], progress=progress)
    if flags["as_json"]:
        print_json({"folder": str(out), **index})
    else:
        print_tables([_summary(out, index)])


def _summary(out: Path, index: Mapping[str, Any]) -> Table:  # Any: JSON
    counts = index["counts"]
    rows = [
        ("problems", f"{counts['problems']:,}"),
        ("solutions", f"{counts['solutions']:,}"),
        ("right ones", f"{_share(counts['right_solutions'], counts['solutions'])}"),
        ("left out: failed or without steps", f"{counts['failed']:,}"),
        ("steps", f"{counts['steps']:,}"),
        ("labelled + (any rollout right)", f"{_share(counts['right_steps'], counts['steps'])}"),
        ("rollouts", f"{counts['rollouts']:,}"),
        ("digest", index["sha256"][:12]),
    ]
    return Table(title="Labelled steps", columns=("Folder", str(out)), rows=tuple(rows))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
