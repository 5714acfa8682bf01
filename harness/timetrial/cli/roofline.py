"""`timetrial roofline`: the least time that models could take on a machine, from configs and rates, without running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.options import INTEGERS, NAMES, flatten, print_json, print_tables
from timetrial.config import TimingGrid
from timetrial.error import UnknownNameError, UsageError
from timetrial.machines import PUBLISHED_MACHINES, published_machine
from timetrial.rates import MachineRates
from timetrial.report.labels import bytes_label, seconds_label
from timetrial.report.scales import group_by_size
from timetrial.report.table import Table, without_repeated_notes
from timetrial.roofline import RooflineCell, architectures, roofline_cells

_BATCHES = tuple(2**power for power in range(10))
_NAMES_OF_MACHINES = ", ".join(machine.name for machine in PUBLISHED_MACHINES)


@click.command()
@click.option(
    "--model", "-m", "models", type=NAMES, multiple=True, required=True,
    help="Names (`timetrial models`), folders or Hub ids, of which only the configs are read.",
)  # fmt: skip
@click.option("--machine", metavar="NAME", help=f"A machine by its data sheet: {_NAMES_OF_MACHINES}.")
@click.option("--bandwidth", type=float, metavar="BYTES/S", help="Of the memory, instead of the machine's.")
@click.option("--matrix-rate", type=float, metavar="FLOP/S", help="Of matrix products, instead of the machine's.")
@click.option("--memory", type=float, metavar="BYTES", help="What has to hold everything, instead of the machine's.")
@click.option(
    "--batch", "batches", type=INTEGERS, multiple=True, help="Batch sizes. [default: powers of two up to 512]"
)
@click.option("--prompt-tokens", type=INTEGERS, multiple=True, help="Prompt lengths. [default: 512]")
@click.option("--new-tokens", type=int, default=512, show_default=True)
@click.option(
    "--dtype", type=click.Choice(["bfloat16", "float16", "float32"]), default="bfloat16", show_default=True,
    help="Number format of the weights; recurrent states are float32.",
)  # fmt: skip
@click.option("--baseline", metavar="NAME", help="The model that bounds are over. [default: the first of each size]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def roofline(**flags: Any) -> None:  # Any: click passes every option by name
    """Print the floors of models on a machine that need not be here: bytes, operations, least seconds, memory.

    Nothing is run and no weights are read. `timetrial time` measures how far the machine at hand stays above its floor.
    """
    names = flatten(flags["models"])
    if flags["baseline"] is not None and flags["baseline"] not in names:
        raise UnknownNameError("baseline", flags["baseline"], names, "It is one of the models.")
    rates, memory_bytes = _rates(flags)
    grid = TimingGrid(
        batches=flatten(flags["batches"]) or _BATCHES,
        prompt_tokens=flatten(flags["prompt_tokens"]) or TimingGrid().prompt_tokens,
        new_tokens=flags["new_tokens"],
    )
    models = architectures(names, flags["dtype"], open_catalog())
    cells = roofline_cells(models, grid, rates, memory_bytes)
    sizes = {name: architecture.parameters for name, architecture in models.items()}
    scales = group_by_size(sizes, flags["baseline"])
    baselines = {model: flags["baseline"] or scale.baseline for scale in scales for model in scale.models}
    bounds = _bounds(cells, baselines)
    if flags["as_json"]:
        rows = [{**cell.to_json(), "baseline": baselines[cell.model], "bound": bounds.get(cell)} for cell in cells]
        facts = {"device": rates.device, "dtype": rates.dtype, "memory_bytes": memory_bytes}
        speeds = {"bytes_per_s": rates.bandwidths[0][1], "flops_per_s": rates.flops_per_s}
        print_json({"machine": facts | speeds, "cells": rows})
    else:
        print_tables(without_repeated_notes(list(_tables(cells, bounds, rates))))


def _rates(flags: Mapping[str, Any]) -> tuple[MachineRates, float | None]:  # Any: click's values
    """Return the rates, and the memory if it is known: the data sheet's, or those given as numbers.

    Raises:
        UsageError: there are neither, or both, or a number is not positive.
    """
    numbers = {name: flags[name] for name in ("bandwidth", "matrix_rate", "memory") if flags[name] is not None}
    for name, value in numbers.items():
        if not value > 0:
            raise UsageError(f"--{name.replace('_', '-')} is {value:g}: expected a positive number")
    if flags["machine"] is not None and not numbers:
        machine = published_machine(flags["machine"])
        return machine.rates(flags["dtype"]), machine.memory_bytes
    if flags["machine"] is not None or not {"bandwidth", "matrix_rate"} <= numbers.keys():
        raise UsageError(
            f"say what the machine can do either with --machine ({_NAMES_OF_MACHINES}) or with both --bandwidth and "
            "--matrix-rate, and --memory if it is known"
        )
    rates = MachineRates(
        bandwidths=((1, numbers["bandwidth"]),),
        flops_per_s=numbers["matrix_rate"],
        device="a machine of the given rates",
        dtype=flags["dtype"],
    )
    return rates, numbers.get("memory")


def _bounds(cells: Sequence[RooflineCell], baselines: Mapping[str, str]) -> dict[RooflineCell, float]:
    """Return how many times as long each model's baseline takes at least; nothing for the baselines themselves."""
    floors = {(cell.model, cell.prompt_tokens, cell.batch): cell.floor_s for cell in cells}
    return {
        cell: floors[baselines[cell.model], cell.prompt_tokens, cell.batch] / cell.floor_s
        for cell in cells
        if baselines[cell.model] != cell.model
    }


def _tables(
    cells: Sequence[RooflineCell], bounds: Mapping[RooflineCell, float], rates: MachineRates
) -> Iterator[Table]:
    """Make a table per prompt length."""
    speeds = f"{rates.bandwidths[0][1] / 1e12:g} TB/s and {rates.flops_per_s / 1e12:g} TFLOP/s in {rates.dtype}"
    for prompt_tokens in dict.fromkeys(cell.prompt_tokens for cell in cells):
        shown = [cell for cell in cells if cell.prompt_tokens == prompt_tokens]
        tokens = f"{prompt_tokens} prompt tokens and {shown[0].new_tokens} new tokens"
        yield Table(
            title=f"Floors of {tokens} on {rates.device} ({speeds}), nothing measured",
            columns=("model", "batch", "step", "tokens/s", "decode", "bytes/step", "GFLOP/step", "memory", "bound"),
            rows=tuple(_row(cell, bounds.get(cell)) for cell in shown),
            note="A step of the whole batch, mean over the new tokens, if the machine did nothing but move these bytes "
            "and multiply these weights at its full rates; no engine reaches that. Memory: weights, and keys, values "
            "and states at full length. Bound: the most that the model can be faster than the baseline of its size.",
        )


def _row(cell: RooflineCell, bound: float | None) -> tuple[str, ...]:
    memory = bytes_label(cell.resident_bytes)
    return (
        cell.model,
        str(cell.batch),
        seconds_label(cell.step_s),
        f"{cell.batch / cell.step_s:,.0f}",
        seconds_label(cell.floor_s),
        bytes_label(round(cell.step_bytes)),
        f"{cell.step_flops / 1e9:.3g}",
        f"{memory}: too much" if cell.fits is False else memory,
        "-" if bound is None else f"x{bound:.2f}",
    )
