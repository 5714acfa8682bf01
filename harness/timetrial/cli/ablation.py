"""`timetrial ablation`: how the accuracy of stored runs depends on what becomes of their scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from timetrial.ablation import ablation_to_json
from timetrial.cli.options import INTEGERS, NUMBERS, flatten, print_json, print_tables
from timetrial.progress import bar, silent
from timetrial.report.ablation_figure import draw_ablation, write_pictures
from timetrial.report.ablation_tables import ablation_tables
from timetrial.report.table import without_repeated_notes
from timetrial.runner import Run
from timetrial.stages.ablation import GAMMAS, AblationSettings, ablate, default_ks

ABLATION_FOLDER = "ablation"
ABLATION_FILE = "ablation.json"


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--k", "ks", type=INTEGERS, multiple=True,
    help="Numbers of samples. [default: the powers of two from a quarter of the samples to all]",
)  # fmt: skip
@click.option(
    "--gamma", "gammas", type=NUMBERS, multiple=True,
    help=f"Powers of the scores; inf: the largest alone counts. [default: {','.join(f'{each:g}' for each in GAMMAS)}]",
)  # fmt: skip
@click.option("--permutations", type=int, default=256, show_default=True, help="Per problem, behind each power.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def ablation(runs: tuple[Path, ...], **flags: Any) -> None:  # Any: click passes every option by name
    """Say what RUNS solve by every reduction and power of their scores, and how good those scores are.

    Nothing is scored again. Tables and figures go to the folder ablation/ of each run.
    """
    outcomes = []
    for run in map(Run.open, runs):
        settings = AblationSettings(
            ks=tuple(sorted(set(flatten(flags["ks"])))) or default_ks(run.config.samples),
            gammas=tuple(sorted(set(flatten(flags["gammas"])))) or GAMMAS,
            permutations=flags["permutations"],
            seed=run.config.seed,
        )
        made = ablate(run.folder, run.config.samples, settings, silent if flags["quiet"] else bar)
        written = write_pictures(draw_ablation(made), run.path / ABLATION_FOLDER)
        with run.folder.locked():
            run.folder.write_json(f"{ABLATION_FOLDER}/{ABLATION_FILE}", ablation_to_json(made))
        outcomes.append({"run": str(run.path), **ablation_to_json(made)})
        if not flags["as_json"]:
            print_tables(without_repeated_notes([*ablation_tables(made)]))
            for path in written:
                click.echo(f"figure: {path}")
    if flags["as_json"]:
        print_json(outcomes)
