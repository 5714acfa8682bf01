"""`timetrial run`, `timetrial time` and `timetrial demo`: from flags to a RunConfig to a report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from timetrial.cli.options import INTEGERS, NAMES, NUMBERS, flatten, grader_options, options, print_json
from timetrial.config import RunConfig, TimingGrid, powers_up_to
from timetrial.engines import OWN_ENGINE
from timetrial.error import UsageError
from timetrial.presets import PRESETS, preset
from timetrial.statistics.reduction import REDUCTIONS

DEMO_FLAGS = (
    *("--model", "nutshell-llama,nutshell-llamba,nutshell-mamba-in-llama", "--task", "nutshell"),
    *("--samples", "32", "--temperature", "0.8", "--reward-model", "nutshell-prm", "--batch-size", "256"),
)


_MODEL_HELP = "Checkpoint names (`timetrial models`), versions of the registry (NAME@ALIAS), folders or Hub ids."

_hardware = options(
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ..."),
    click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16."),
    click.option(
        "--kernels",
        default="auto",
        show_default=True,
        help="Of decode steps: auto (the best that works), native (C, on a CPU), triton, pytorch (CUDA graphs), eager.",
    ),
    click.option("--state-dtype", default="auto", show_default=True, help="Of recurrent states: auto or bfloat16."),
    click.option(
        "--state-interval",
        type=int,
        default=1,
        show_default=True,
        help="Steps between writes of a Llamba's states, on a GPU; 1: every step.",
    ),
    click.option("--compile", is_flag=True, help="Compile the parts of a decode step that gain by it."),
)
_output = options(
    click.option("--out", type=click.Path(path_type=Path), help="Run folder. [default: results/NAME-OF-THE-CONFIG]"),
    click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout."),
    click.option("--quiet", "-q", is_flag=True, help="No progress bars."),
)


@click.command()
@click.option("--model", "-m", "models", type=NAMES, multiple=True, required=True, help=_MODEL_HELP)
@click.option("--task", "-t", "tasks", type=NAMES, multiple=True, required=True, help="Tasks (`timetrial tasks`).")
@click.option("--samples", "-n", type=int, help="Completions per problem; may grow in a later command. [default: 16]")
@click.option(
    "--temperature", "temperatures", type=NUMBERS, multiple=True,
    help="Each is a curve of its own; 0 is greedy, sampled once. [default: as recommended for the checkpoint]",
)  # fmt: skip
@click.option("--preset", "preset_name", help=f"Sampling settings by name: {', '.join(PRESETS)}. Flags win over it.")
@click.option("--top-p", type=float, help="Nucleus sampling. [default: 1]")
@click.option("--top-k", type=int, help="-1 considers all tokens. [default: -1]")
@click.option("--max-tokens", type=int, help="Longest completion. [default: the task's limit]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--limit", type=int, help="Use a draw of this many problems, stratified by level, the same for every seed."
)
@click.option("--data", multiple=True, metavar="[TASK=]FILE", help="Read a task's problems from a file.")
@click.option(
    "--aggregator", "aggregators", type=NAMES, multiple=True,
    help="Ways of choosing an answer. [default: majority,best-of-n,weighted]",
)  # fmt: skip
@click.option("--reward-model", metavar="NAME[:REF]", help="Scores for best-of-n and weighted.")
@grader_options(own="each task's own", none="nobody")
@click.option("--reduction", default="last", show_default=True, help=f"Of step scores: {', '.join(REDUCTIONS)}.")
@click.option("--gamma", type=float, default=1.0, show_default=True, help="Power of the scores that weighted adds up.")
@click.option("--batch-size", type=int, default=64, show_default=True, help="Sequences sampled together.")
@click.option("--budget", "budget_s", type=float, metavar="SECONDS", help="The budget the report answers first.")
@click.option("--time/--no-time", "is_timed", default=True, help="Measure the timing grid.  [default: time]")
@click.option(
    "--batch", "batches", type=INTEGERS, multiple=True,
    help="Batch sizes to time. [default: powers of two up to --samples, at most 512]",
)  # fmt: skip
@click.option("--prompt-tokens", type=int, help="Of the timing grid. [default: the samples' median]")
@click.option(
    "--contexts/--no-contexts", "spans_contexts", default=True,
    help="Time a second prompt length too, for replay and deadlines.  [default: contexts]",
)  # fmt: skip
@click.option("--new-tokens", type=int, help="Of the timing grid. [default: the completions' mean]")
@click.option(
    "--time-verifier/--no-time-verifier", "times_verifier", default=True,
    help="Time the reward model too, at the same batches.  [default: time-verifier]",
)  # fmt: skip
@click.option("--repeats", type=int, default=5, show_default=True, help="Timed repeats of each batch.")
@click.option("--register-metrics", is_flag=True, help="Attach the figures to the registry's versions they are of.")
@_hardware
@_output
def run(**flags: Any) -> None:  # Any: click passes every option by name
    """Sample, grade, score, time and report models on tasks.

    The same command again continues an interrupted run and adds samples if --samples has grown.
    """
    register = flags["register_metrics"]
    execute(config_from_flags(flags), flags["out"], as_json=flags["as_json"], quiet=flags["quiet"], register=register)


@click.command()
@click.option("--model", "-m", "models", type=NAMES, multiple=True, help=_MODEL_HELP)
@click.option(
    "--random-weights", type=NAMES, multiple=True,
    help="Instead of --model: the same, but only their configs are read, and the weights drawn at random.",
)  # fmt: skip
@click.option(
    "--batch", "batches", type=INTEGERS, multiple=True,
    help="Batch sizes. [default: 1,2,4,8,16,32,64]",
)  # fmt: skip
@click.option(
    "--prompt-tokens", type=INTEGERS, multiple=True,
    help="Prompt lengths: every batch is timed after each of them. [default: 512]",
)  # fmt: skip
@click.option("--new-tokens", type=int, default=512, show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True, help="Timed repeats of each batch.")
@click.option("--warmups", type=int, default=1, show_default=True, help="Untimed runs of each batch before them.")
@click.option(
    "--engine", "engines", type=NAMES, multiple=True,
    help="What runs the models (`timetrial engines`): own, paper-style, or both, side by side. [default: own]",
)  # fmt: skip
@click.option("--baseline", metavar="NAME", help="The model that speed-ups are over. [default: the first of each size]")
@click.option("--seed", type=int, default=0, show_default=True)
@_hardware
@_output
def time(**flags: Any) -> None:  # Any: click passes every option by name
    """Time the decoding of models over a grid of batch sizes and prompt lengths (the paper's figure 2).

    Prefill and decode are timed apart, warm-ups are recorded but left out, and repeats run in random order. Beside each
    time stands its floor: what the bytes and operations of its steps take at the rates measured on this machine.
    """
    if bool(flags["models"]) == bool(flags["random_weights"]):
        raise UsageError(
            "give the models either with --model or with --random-weights: checkpoints and random weights are timed "
            "in runs of their own"
        )
    grid = TimingGrid(
        batches=flatten(flags["batches"]) or TimingGrid().batches,
        prompt_tokens=flatten(flags["prompt_tokens"]) or TimingGrid().prompt_tokens,
        new_tokens=flags["new_tokens"],
        repeats=flags["repeats"],
        warmups=flags["warmups"],
    )
    config = RunConfig(
        models=flatten(flags["models"] or flags["random_weights"]),
        random_weights=bool(flags["random_weights"]),
        grid=grid,
        engines=flatten(flags["engines"]) or (OWN_ENGINE,),
        baseline=flags["baseline"],
        seed=flags["seed"],
        device=flags["device"],
        dtype=flags["dtype"],
        state_dtype=flags["state_dtype"],
        state_interval=flags["state_interval"],
        compile=flags["compile"],
        kernels=flags["kernels"],
    )
    execute(config, flags["out"], as_json=flags["as_json"], quiet=flags["quiet"])


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results/demo"), show_default=True, help="Run folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def demo(out: Path, as_json: bool, quiet: bool) -> None:
    """Run the whole path on the shipped models and task: about four minutes on two CPU cores.

    Nothing is canned: this is `timetrial run` with the flags printed at the start.
    """
    arguments = [*DEMO_FLAGS, "--out", str(out), *(["--json"] if as_json else []), *(["--quiet"] if quiet else [])]
    click.echo(f"timetrial run {shlex.join(arguments)}", err=True)
    run.main(args=arguments, prog_name="timetrial run", standalone_mode=False)


def config_from_flags(flags: dict[str, Any]) -> RunConfig:  # Any: click's values
    """Build the config of `timetrial run`; a flag wins over the preset, the preset over the default."""
    fields: dict[str, Any] = {"samples": 16}  # Any: the fields differ in type
    if flags["preset_name"] is not None:
        fields |= preset(flags["preset_name"])
    given = {name: flags[name] for name in ("samples", "top_p", "top_k", "max_tokens") if flags[name] is not None}
    lists = {name: flatten(flags[name]) for name in ("temperatures", "aggregators") if flags[name]}
    fields |= given | lists
    tasks = flatten(flags["tasks"])
    graders = ("grader", "second_opinion")
    speed = ("batch_size", "device", "dtype", "state_dtype", "state_interval", "compile", "kernels")
    direct = ("seed", "limit", "reward_model", "reduction", "gamma", "budget_s", *speed, *graders)
    return RunConfig(
        models=flatten(flags["models"]),
        tasks=tasks,
        data=tuple(_data_pair(text, tasks) for text in flags["data"]),
        grid=_grid(flags, fields["samples"]) if flags["is_timed"] else None,
        **fields,
        **{name: flags[name] for name in direct},
    )


def _grid(flags: dict[str, Any], samples: int) -> TimingGrid:  # Any: click's values
    return TimingGrid(
        batches=flatten(flags["batches"]) or powers_up_to(samples),
        prompt_tokens=() if flags["prompt_tokens"] is None else (flags["prompt_tokens"],),
        new_tokens=flags["new_tokens"],
        repeats=flags["repeats"],
        times_verifier=flags["times_verifier"],
        spans_contexts=flags["spans_contexts"],
    )


def _data_pair(text: str, tasks: tuple[str, ...]) -> tuple[str, str]:
    for task in tasks:  # a task's name may hold an equals sign itself
        if text.startswith(f"{task}="):
            return task, text.removeprefix(f"{task}=")
    if len(tasks) == 1:
        return tasks[0], text
    raise UsageError(f"--data {text!r} does not say for which task: with several tasks write --data TASK=FILE")


def execute(config: RunConfig, out: Path | None, *, as_json: bool, quiet: bool, register: bool = False) -> None:
    """Run the config with progress bars and print where the results are; with `register` attach its figures."""
    from timetrial.catalog import open_catalog
    from timetrial.cli.registering import attach_figures, check_models
    from timetrial.cli.summary import print_summary, summary
    from timetrial.progress import bar, silent
    from timetrial.runner import Surroundings
    from timetrial.runner import run as run_config

    catalog = open_catalog()
    if register:
        check_models(config, catalog)
    surroundings = Surroundings(catalog=catalog, progress=silent if quiet else bar)
    finished = run_config(config, out, surroundings=surroundings)
    attached = attach_figures(finished, catalog) if register else None
    if as_json:
        print_json(summary(finished, attached))
    else:
        print_summary(finished, attached)
