"""`timetrial distill evaluate-reward-model`: how good a verifier is, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from timetrial.cli.options import print_json, print_tables
from timetrial.progress import bar, silent
from timetrial.report.table import Table

if TYPE_CHECKING:
    from timetrial_distillation.rewards.evaluation import RewardEvaluation
    from timetrial_distillation.rewards.quality import FirstErrors, Quality


@click.command("evaluate-reward-model")
@click.option(
    "--reward-model",
    "name",
    required=True,
    metavar="NAME[:REF]",
    help="Any reward model (`timetrial aggregators`); prm:FOLDER is one that was trained here.",
)
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="LABELS",
    help="Labelled solutions it has not seen: a folder made by `timetrial distill label-steps`, a JSON or Parquet file,"
    " or a Hub id such as Qwen/ProcessBench:gsm8k. Repeatable.",
)
@click.option(
    "--layout", default="auto", show_default=True, help="How records of --data are read (docs); auto: by columns."
)
@click.option("--limit", type=click.IntRange(min=1), help="Solutions: the first so many.")
@click.option(
    "--figure", type=click.Path(path_type=Path, dir_okay=False), help="Write a reliability diagram: .svg or .png."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default PyTorch's choice.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
def evaluate_reward_model(  # noqa: PLR0913  # one parameter an option
    name: str,
    data: tuple[str, ...],
    layout: str,
    limit: int | None,
    figure: Path | None,
    device: str,
    dtype: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Say how good a reward model's step scores are on labelled solutions.

    Whether right steps score higher than wrong ones (AUC), whether scores mean what they say (ECE, Brier, a table),
    whether the first step below a threshold is the first wrong one (F1, as ProcessBench has it), and whether last
    scores tell right solutions of a problem from wrong ones.
    """
    import torch

    from timetrial.catalog import open_catalog
    from timetrial.spec import LoadOptions
    from timetrial_distillation.rewards.data import open_labels
    from timetrial_distillation.rewards.evaluation import evaluate_reward_model as run_evaluation
    from timetrial_distillation.rewards.reliability_figure import check_ending, write_reliability

    if figure is not None:
        check_ending(figure)
    if threads is not None:
        torch.set_num_threads(threads)
    progress = silent if as_json else bar
    labels = open_labels(data, layout=layout, limit=limit, progress=progress)
    found = run_evaluation(name, labels, open_catalog(), LoadOptions(device=device, dtype=dtype), progress)
    if figure is not None:
        write_reliability(found, figure)
    if as_json:
        print_json(found.to_json())
    else:
        print_tables([_summary(found), *(_reliability(kind, each) for kind, each in found.qualities.items())])


def _summary(found: RewardEvaluation) -> Table:
    columns = list(found.qualities.items())
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in found.left_out.items())
    rows = [(name, *(show(quality) for _, quality in columns)) for name, show in _FIGURES]
    return Table(
        title=f"{found.reward_model} on {', '.join(found.data)}",
        columns=("Labels", *(kind for kind, _ in columns)),
        rows=tuple(rows),
        note="truth: known to be right; hard: any rollout right; soft: share of rollouts right."
        + (f" Left out: {left_out}." if left_out else ""),
    )


def _errors(found: FirstErrors | None) -> str:
    if found is None:
        return "-"
    return f"{_share(found.f1)} ({_share(found.wrong)}, {_share(found.right)}) at {found.threshold:g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _with_interval(quality: Quality) -> str:
    found = quality.step_auc_interval
    return _share(quality.step_auc) + (f" [{found[0]:.3f}, {found[1]:.3f}]" if found else "")


_FIGURES = (
    ("problems", lambda quality: f"{quality.num_problems:,}"),
    ("solutions", lambda quality: f"{quality.num_solutions:,}"),
    ("steps", lambda quality: f"{quality.num_steps:,}"),
    ("share of right steps", lambda quality: _share(quality.share_right)),
    ("step AUC [95%]", _with_interval),
    ("last score AUC within problems", lambda quality: _share(quality.last_auc)),
    ("ECE", lambda quality: _share(quality.ece)),
    ("Brier score", lambda quality: _share(quality.brier)),
    ("first error, F1 (wrong, right)", lambda quality: _errors(quality.first_errors)),
    ("  at the best threshold, other half", lambda quality: _errors(quality.best_first_errors)),
)


def _reliability(kind: str, quality: Quality) -> Table:
    rows = [(f"{each.mean_score:.3f}", f"{each.mean_label:.3f}", f"{each.num_steps:,}") for each in quality.bins]
    heads = ("Mean score", "Share right", "Steps")
    return Table(title=f"Reliability, {kind}", columns=heads, rows=tuple(rows), num_text_columns=0)
