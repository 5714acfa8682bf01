"""`timetrial replay`: the seconds of a run by the actual lengths of its completions, and whether they are right."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.options import print_json, print_tables
from timetrial.config import RunConfig, TimingGrid, powers_up_to
from timetrial.error import UsageError
from timetrial.progress import bar, silent
from timetrial.record import Completion
from timetrial.replay_record import Replay, replay_from_json, replay_to_json
from timetrial.report.deadline_tables import deadline_tables
from timetrial.report.replay_tables import overall_ratios, replay_tables
from timetrial.report.table import without_repeated_notes
from timetrial.runner import Run, Surroundings, refresh_report, validate_replay
from timetrial.runner import run as run_config
from timetrial.stages.derive_replay import REPLAY_FILE
from timetrial.stages.end_to_end import EndToEndSettings


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--time", "is_timed", is_flag=True, help="First time what replay needs and nobody timed here.")
@click.option("--validate", "is_validated", is_flag=True, help="Generate some problems and compare the wall clock.")
@click.option("--problems", type=int, default=20, show_default=True, help="To validate by, of each task.")
@click.option("--samples", type=int, default=16, show_default=True, help="Completions generated together.")
@click.option("--repeats", type=int, default=3, show_default=True, help="Times that each problem is generated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def replay(runs: tuple[Path, ...], **flags: Any) -> None:  # Any: click passes every option by name
    """Say what RUNS cost by the actual lengths of their completions, and what they solve by a deadline.

    Seconds come from the timed batches, so nothing is generated, unless --validate asks for it. The reports of the
    runs are written again.
    """
    settings = EndToEndSettings(problems=flags["problems"], samples=flags["samples"], repeats=flags["repeats"])
    surroundings = Surroundings(catalog=open_catalog(), progress=silent if flags["quiet"] else bar)
    outcomes = []
    for run in [_opened(path) for path in runs]:
        if flags["is_timed"]:
            run = run_config(_spanning(run.config), run.path, surroundings=surroundings)
        if flags["is_validated"]:
            validate_replay(run, settings, surroundings)
        elif not flags["is_timed"]:
            refresh_report(run, surroundings.catalog, surroundings.progress)
        made = replay_from_json(run.folder.read_json(REPLAY_FILE))
        outcomes.append({"run": str(run.path), **replay_to_json(made), "ratio": _ratio(made)})
        if not flags["as_json"]:
            print_tables(without_repeated_notes([*deadline_tables(made), *replay_tables(made)]))
            click.echo(f"report: {run.path / 'report' / 'index.html'}")
    if flags["as_json"]:
        print_json(outcomes)


def _opened(path: Path) -> Run:
    run = Run.open(path)
    if not run.folder.has(Completion):
        raise UsageError(
            f"{path} holds no completions, so there are no lengths to replay: expected a run that has sampled"
        )
    return run


def _spanning(config: RunConfig) -> RunConfig:
    """Return the config with a grid that tells how a step grows with the context."""
    grid = config.grid or TimingGrid(batches=powers_up_to(config.samples), prompt_tokens=(), new_tokens=None)
    return dataclasses.replace(config, grid=dataclasses.replace(grid, spans_contexts=True))


def _ratio(made: Replay) -> dict[str, float] | None:
    return overall_ratios(made.validations) if made.validations else None
