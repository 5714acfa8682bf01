"""`timetrial general`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.options import NAMES, flatten, options, print_json, print_tables
from timetrial.cli.registering import lines
from timetrial.general_record import GeneralResult
from timetrial.progress import bar, silent
from timetrial.record import to_json
from timetrial.registering import check_registrable
from timetrial.registries import open_registries
from timetrial.report.table import Table
from timetrial.store import RunFolder
from timetrial_plugins.general.config import GeneralConfig, folder_name
from timetrial_plugins.general.registering import register_results
from timetrial_plugins.general.requirement import lm_eval_version, untested

_FOLDER = click.Path(path_type=Path)

_asking = options(
    click.option("--num-fewshot", type=int, help="Worked examples before each question. [default: the task's]"),
    click.option("--limit", type=float, help="Only the first so many documents of each task; below 1 a share."),
    click.option("--apply-chat-template", is_flag=True, help="Ask in the checkpoint's chat format."),
    click.option(
        "--fewshot-as-multiturn/--fewshot-as-text", default=True,
        help="With a chat template: examples as turns of their own, or in one.  [default: fewshot-as-multiturn]",
    ),
    click.option("--system-instruction", help="A text before everything else."),
    click.option(
        "--gen-kwargs", "generation", metavar="NAME=VALUE,...",
        help="Of generation tasks, instead of theirs: max_gen_toks, until, do_sample, temperature, top_p, top_k.",
    ),
    click.option("--max-length", type=int, help="Most tokens of a sequence. [default: the model's context]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Of sampled generation."),
)  # fmt: skip


@click.command()
@click.option("--model", "-m", "models", type=NAMES, multiple=True, required=True, help="As for `timetrial run`.")
@click.option(
    "--tasks", "-t", type=NAMES, multiple=True, required=True,
    help="lm-eval's names of tasks, groups and tags: mmlu, arc_challenge, ... (`lm_eval ls tasks`).",
)  # fmt: skip
@click.option("--include-path", "include_paths", type=_FOLDER, multiple=True, help="Folder with task definitions.")
@click.option("--data-dir", type=_FOLDER, help="Folder with local copies of data sets: DIR/<data set>/...")
@_asking
@click.option("--batch-size", type=int, help="Sequences evaluated at once. [default: as many as fit]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
@click.option("--state-dtype", default="auto", show_default=True, help="Of recurrent states: auto or bfloat16.")
@click.option("--register-metrics", is_flag=True, help="Attach the figures to the registry's versions they are of.")
@click.option("--out", type=_FOLDER, help="Run folder. [default: results/general-NAME-OF-THE-CONFIG]")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def general(**flags: Any) -> None:  # Any: click passes every option by name
    """Run lm-eval's general benchmarks on models, by its own task definitions and metrics.

    The same command again continues an interrupted run; tasks and models may be added. Questions with a common context
    are read together. Needs the extra lm-eval.
    """
    version = lm_eval_version()
    if (warning := untested(version)) is not None:
        _warn(warning)
    config = GeneralConfig(
        include_paths=tuple(str(path.resolve()) for path in flags["include_paths"]),
        data_dir=None if flags["data_dir"] is None else str(flags["data_dir"].resolve()),
        **{name: flags[name] for name in _DIRECT},
    )
    models, tasks = flatten(flags["models"]), flatten(flags["tasks"])
    folder = RunFolder(flags["out"] or Path("results") / folder_name(models, tasks, config))
    catalog = open_catalog()
    if flags["register_metrics"]:
        check_registrable(models, catalog, open_registries(catalog))
    from timetrial_plugins.general.run import GeneralRun, no_bars_of_lm_eval  # imports lm-eval

    run = GeneralRun(
        models=models,
        tasks=tasks,
        config=config,
        folder=folder,
        catalog=catalog,
        lm_eval_version=version,
        progress=silent if flags["quiet"] else bar,
        warn=_warn,
    )
    with no_bars_of_lm_eval() if flags["quiet"] else nullcontext():
        results = run.run()
    attached = register_results(folder, results, open_registries(catalog)) if flags["register_metrics"] else None
    if flags["as_json"]:
        registered = {} if attached is None else {"registered": [dataclasses.asdict(each) for each in attached]}
        print_json({"run": str(folder.path), "results": [to_json(result) for result in results], **registered})
        return
    print_tables([_table(results)])
    for line in lines(attached or ()):
        click.echo(line, err=True)
    click.echo(f"run: {folder.path}")


_DIRECT = (
    *("num_fewshot", "limit", "apply_chat_template", "fewshot_as_multiturn", "system_instruction", "generation"),
    *("max_length", "seed", "batch_size", "device", "dtype", "state_dtype"),
)


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


def _table(results: Sequence[GeneralResult]) -> Table:
    """Return a table of all metrics: groups first, each model by itself."""
    ordered = sorted(results, key=lambda result: (result.model, result.kind != "group", result.task))
    return Table(
        title="General benchmarks",
        columns=("model", "task", "metric", "filter", "value", "standard error", "shots", "documents", "seconds"),
        rows=tuple(map(_row, ordered)),
        num_text_columns=4,
    )


def _row(result: GeneralResult) -> tuple[str, ...]:
    return (
        result.model,
        result.task,
        result.metric,
        result.filter,
        "-" if result.value is None else f"{result.value:.4f}",
        "-" if result.standard_error is None else f"{result.standard_error:.4f}",
        "-" if result.num_fewshot is None else str(result.num_fewshot),
        f"{result.num_docs:,}",
        f"{result.wall_s:.1f}",
    )
