"""`timetrial doctor`."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence

import click

from timetrial.cli.listing import Row, json_option, print_rows
from timetrial.cli.options import print_json
from timetrial.progress import bar
from timetrial.rates import MachineRates
from timetrial_plugins.doctor.examination import Examination, examine, num_looks
from timetrial_plugins.doctor.machine import Cuda, Processor
from timetrial_plugins.ops.packages import Package
from timetrial_plugins.ops.selection import Implementation


@click.command()
@click.option("--measure", is_flag=True, help="Measure bandwidth and matrix products as well: some seconds.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, measure: bool, as_json: bool) -> None:
    """Show devices, packages, and which kernels of a decode step are active on each device, or why not.

    Exits with 1 if something that is installed is broken; what is absent is no fault.
    """
    with bar("examining this machine", num_looks(measures=measure)) as advance:
        examination = examine(platform.python_version(), advance, measures=measure)
    if as_json:
        facts = dataclasses.asdict(examination)
        print_json({**facts, "kernels": _kernel_json(examination), "faults": examination.faults})
    else:
        _print(examination)
    if examination.faults:
        ctx.exit(1)


def _kernel_json(examination: Examination) -> dict[str, list[Mapping[str, str | None]]]:
    return {device: [entry._asdict() for entry in entries] for device, entries in examination.kernels.items()}


def _print(examination: Examination) -> None:
    print_rows("Packages", [{"name": "python", "version": examination.python, "state": "ok"}, *_packages(examination)])
    if examination.processor is not None and examination.cuda is not None:
        print_rows("Devices", [_processor_row(examination.processor), *_gpu_rows(examination.cuda)])
    for device, entries in examination.kernels.items():
        print_rows(f"Kernels of a decode step on {device}", _kernel_rows(entries))
    for device, measured in examination.rates.items():
        print_rows(f"Measured on {device}", [_rates_row(rates) for rates in measured])
    for fault in examination.faults:
        click.secho(f"broken: {fault}", fg="red")
    if not examination.faults:
        click.echo("Nothing that is installed is broken.")


def _packages(examination: Examination) -> list[Row]:
    return [
        {"name": package.name, "version": package.version or "-", "state": _state(package)}
        for package in examination.packages
    ]


def _state(package: Package) -> str:
    if package.version is None:
        return "not installed"
    return "ok" if package.error is None else package.error


def _processor_row(processor: Processor) -> Row:
    omp = f", OMP_NUM_THREADS={processor.omp_num_threads}" if processor.omp_num_threads else ""
    bfloat16 = "bfloat16 products" if processor.multiplies_bfloat16 else "no bfloat16 products"
    features = " ".join(processor.features) or "features unknown"
    return {
        "device": "cpu",
        "name": processor.name,
        "facts": f"{processor.cores} cores, {processor.threads} threads{omp}; {features}; {bfloat16}",
    }


def _gpu_rows(cuda: Cuda) -> list[Row]:
    if cuda.problem is not None:
        return [{"device": "cuda", "name": "-", "facts": cuda.problem}]
    return [
        {
            "device": f"cuda:{index}",
            "name": gpu.name,
            "facts": f"{gpu.memory_bytes / 1e9:.1f} GB, {gpu.free_bytes / 1e9:.1f} GB free; compute capability "
            f"{'.'.join(map(str, gpu.capability))}; driver {cuda.driver or 'unknown'}, CUDA {cuda.runtime}",
        }
        for index, gpu in enumerate(cuda.gpus)
    ]


def _kernel_rows(entries: Sequence[Implementation]) -> list[Row]:
    return [{"name": entry.name, "operations": entry.operations, "state": _kernel_state(entry)} for entry in entries]


def _kernel_state(entry: Implementation) -> str:
    if entry.problem is not None:
        return f"not used: {entry.problem}"
    return "used where measured faster" if entry.state == "candidate" else entry.state


def _rates_row(rates: MachineRates) -> Row:
    size, bandwidth = rates.bandwidths[-1]
    return {
        "name": rates.device,
        "dtype": rates.dtype,
        "bandwidth": f"{bandwidth / 1e9:.1f} GB/s over {size >> 20} MiB",
        "matrix rate": f"{rates.flops_per_s / 1e9:,.0f} GFLOP/s",
    }
