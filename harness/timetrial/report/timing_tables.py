"""The tables of the timing grid: seconds, what a step costs beside its floor, the prompt lengths, and speed-ups."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from timetrial.report import table
from timetrial.report.data import ReportData
from timetrial.report.grid import Cell, Workload, by_sweep, by_workload, random_label, timing_cells
from timetrial.report.labels import bytes_label, percent, seconds_label, split_label
from timetrial.report.speed_ups import BatchSpeedUp, batch_speed_ups
from timetrial.report.table import Table

Machines = Mapping[str, str]
"""What to call the machine of each environment key."""


def measured_tables(report: ReportData) -> Iterator[Table]:
    """Make all tables of what was timed."""
    cells, machines = timing_cells(report.timings), report.machines
    yield from timing_tables(cells, machines)
    yield from cost_tables(cells, machines)
    yield from prompt_tables(cells, machines)
    yield from speed_up_tables(batch_speed_ups(cells, report.baseline), machines)


def timing_tables(cells: Sequence[Cell], machines: Machines) -> Iterator[Table]:
    """Make one table per machine and shape: a row per model and batch size."""
    for workload, shown in by_workload(cells).items():
        yield Table(
            title=f"Batches of {_shape(workload, machines)}{random_label(shown)}",
            columns=(
                "model",
                "batch",
                "decode median",
                "fastest",
                "slowest",
                "repeats",
                "tokens/s",
                "prefill median",
                "warm-up",
                "peak memory",
            ),
            rows=tuple(_timing_row(cell) for cell in shown),
            note="Decode seconds of the whole batch, prefill apart. Warm-up: decode seconds of the untimed first "
            "runs, never part of a mean. Tokens per second: batch times new tokens over the median.",
        )


def cost_tables(cells: Sequence[Cell], machines: Machines) -> Iterator[Table]:
    """Make one table per machine and shape of what a decode step costs and how near its floor it was."""
    for workload, shown in by_workload(cells).items():
        known = [cell for cell in shown if cell.last.step_bytes is not None]
        if known:
            yield Table(
                title=f"Floors of {_shape(workload, machines)}{random_label(known)}",
                columns=("model", "batch", "step", "floor", "% of floor", "bytes/step", "GFLOP/step", "prompt", "run"),
                rows=tuple(_cost_row(cell) for cell in known),
                note="A step of the whole batch, mean over the new tokens. Floor: the least time that this machine's "
                "measured bandwidth and matrix rate allow. % of floor: floor over median, 100 is as fast as can be. "
                "Prompt: whether its keys and values are read once (shared) or for every sequence (each).",
            )


def prompt_tables(cells: Sequence[Cell], machines: Machines) -> Iterator[Table]:
    """Make one table per machine that timed several prompt lengths: seconds of a step, a column per length."""
    for (environment, new_tokens), shown in by_sweep(cells).items():
        where = f"{machines.get(environment, environment)}{random_label(shown)}"
        yield table.pivot(
            f"Seconds of a step by prompt tokens, {new_tokens} new ones, on {where}",
            ("model", "batch"),
            (
                table.Cell((cell.model, str(cell.batch)), f"{cell.workload.prompt_tokens:,}", _step(cell))
                for cell in sorted(shown, key=lambda cell: cell.workload.prompt_tokens)
            ),
            "Median decode seconds over new tokens. It grows with the prompt where attention reads all of it in every "
            "step; a recurrent state is as large after any prompt.",
        )


def speed_up_tables(speed_ups: Sequence[BatchSpeedUp], machines: Machines) -> Iterator[Table]:
    """Make one table per machine and shape: how much sooner each model is done than the baseline."""
    for workload in dict.fromkeys(each.workload for each in speed_ups):
        shown = [each for each in speed_ups if each.workload == workload]
        yield Table(
            title=f"Speed-up over {shown[0].baseline}, {_shape(workload, machines)}",
            columns=("model", "batch", "baseline", "model's", "speed-up", "bound by floors"),
            rows=tuple(
                (
                    each.model,
                    str(each.batch),
                    split_label(*each.baseline_time),
                    split_label(*each.time),
                    f"x{each.ratio:.2f}",
                    f"x{each.bound:.2f}" if each.bound is not None else "-",
                )
                for each in shown
            ),
            note="Decode seconds of the batch, split where it does not fit. Bound by floors: the speed-up if both ran "
            "at their floors. A larger one says that the baseline is run further from its own.",
        )


def _shape(workload: Workload, machines: Machines) -> str:
    tokens = f"{workload.prompt_tokens} prompt tokens and {workload.new_tokens} new tokens"
    return f"{tokens} on {machines.get(workload.environment, workload.environment)}"


def _step(cell: Cell) -> str:
    return seconds_label(cell.step_s) if cell.decode_s else "out of memory"


def _cost_row(cell: Cell) -> tuple[str, ...]:
    row = cell.last
    assert row.step_bytes is not None and row.step_flops is not None, "see cost_tables"
    return (
        cell.model,
        str(cell.batch),
        _step(cell),
        seconds_label(row.floor_s / row.new_tokens) if row.floor_s is not None else "-",
        percent(cell.floor_share) if cell.floor_share is not None else "-",
        bytes_label(round(row.step_bytes)),
        f"{row.step_flops / 1e9:.3g}",
        {True: "shared", False: "each", None: "-"}[row.is_prompt_shared],
        row.kernels or "-",
    )


def _timing_row(cell: Cell) -> tuple[str, ...]:
    repeats = f"{len(cell.decode_s)}" + (f", {cell.num_out_of_memory} out of memory" if cell.num_out_of_memory else "")
    warmup = ", ".join(seconds_label(second) for second in cell.warmup_s) or "-"
    peak = bytes_label(cell.peak_bytes) if cell.peak_bytes is not None else "-"
    if not cell.decode_s:
        return (cell.model, str(cell.batch), "out of memory", "-", "-", repeats, "-", "-", warmup, peak)
    return (
        cell.model,
        str(cell.batch),
        seconds_label(cell.median_s),
        seconds_label(min(cell.decode_s)),
        seconds_label(max(cell.decode_s)),
        repeats,
        f"{cell.batch * cell.workload.new_tokens / cell.median_s:,.0f}",
        seconds_label(statistics.median(cell.prefill_s)) if cell.prefill_s else "-",
        warmup,
        peak,
    )
