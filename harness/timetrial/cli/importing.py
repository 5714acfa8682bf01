"""`timetrial import-samples`: analyse published completions or counts without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.options import grader_options, print_json
from timetrial.cli.summary import print_summary, summary
from timetrial.importer import ImportOptions, majority_disagreements
from timetrial.importing import import_run
from timetrial.progress import bar, silent


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. [default: results/imported-NAME-OF-THE-FILE]")
@click.option("--model", help="Name of the model that made the completions. [default: from the file or its path]")
@click.option("--task", default="math-500", show_default=True, help="Task whose extraction and grader are used.")
@click.option("--temperature", type=float, help="Sampling temperature. [default: from the file or its path]")
@click.option("--reward-model", default="imported", show_default=True, help="Name for the step scores of a dump.")
@click.option("--max-tokens", type=int, help="Token limit of the dump: completions this long were cut. [default: 2048]")
@click.option("--seed", type=int, help="Use one seed of a count table. [default: pool all seeds]")
@grader_options(own="the task's own", none="nobody")
@click.option(
    "--check-votes", is_flag=True, help="Say where the dump's own pred_maj@n differ from a replay of its rule."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def import_samples(files: tuple[Path, ...], **flags: Any) -> None:  # Any: click passes every option by name
    """Make a run of FILES: completion dumps in search-and-learn's layout, or (samples, correct) counts per problem.

    JSON lines, CSV and Parquet are told apart by their content. Answers are extracted and graded here, not trusted.
    Several dumps of one model are pooled.
    """
    fields = ("model", "task", "temperature", "reward_model", "max_tokens", "seed", "grader", "second_opinion")
    catalog = open_catalog()
    task = catalog.task(flags["task"])
    out = flags["out"] or Path("results") / f"imported-{files[0].stem}"
    progress = silent if flags["quiet"] else bar
    run = import_run(files, ImportOptions(**{name: flags[name] for name in fields}), out, catalog, progress=progress)
    if flags["check_votes"]:
        for path in files:
            for line in majority_disagreements(path, task.load(None)):
                click.echo(f"{path}: {line}", err=True)
    print_json(summary(run)) if flags["as_json"] else print_summary(run)
