"""The tables of the timing grid: seconds, what a step costs beside its floor, the prompt lengths, and speed-ups."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from timetrial.engines import OWN_ENGINE
from timetrial.report import table
from timetrial.report.data import ReportData
from timetrial.report.engine_tables import engine_tables
from timetrial.report.grid import Cell, Workload, by_sweep, by_workload, random_label, timing_cells
from timetrial.report.labels import bytes_label, percent, seconds_label, split_label
from timetrial.report.scales import report_speed_ups
from timetrial.report.speed_ups import BatchSpeedUp
from timetrial.report.table import Table

Machines = Mapping[str, str]
"""What to call the machine of each environment key."""


def measured_tables(report: ReportData) -> Iterator[Table]:
    """Make all tables of what was timed."""
    cells, machines = timing_cells(report.timings), report.machines
    yield from timing_tables(cells, machines)
    yield from cost_tables(cells, machines)
    yield from prompt_tables(cells, machines)
    yield from speed_up_tables(report_speed_ups(report), machines)
    yield from engine_tables(report)


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
                table.Cell((cell.label, str(cell.batch)), f"{cell.workload.prompt_tokens:,}", _step(cell))
                for cell in sorted(shown, key=lambda cell: cell.workload.prompt_tokens)
            ),
            "Median decode seconds over new tokens. It grows with the prompt where attention reads all of it in every "
            "step; a recurrent state is as large after any prompt.",
        )


def speed_up_tables(speed_ups: Sequence[BatchSpeedUp], machines: Machines) -> Iterator[Table]:
    """Make one table per machine, shape and baseline: how much sooner each model is done than it, engine by engine."""
    for workload, baseline in dict.fromkeys((each.workload, each.baseline) for each in speed_ups):
        shown = [each for each in speed_ups if (each.workload, each.baseline) == (workload, baseline)]
        engines = sorted({each.baseline_engine for each in shown}, key=lambda engine: (engine != OWN_ENGINE, engine))
        rows: dict[tuple[str, int], dict[str, BatchSpeedUp]] = {}
        for each in shown:
            rows.setdefault((each.label, each.batch), {})[each.baseline_engine] = each
        yield Table(
            title=f"Speed-up over {baseline}, {_shape(workload, machines)}",
            columns=(
                *("model", "batch"),
                *("baseline" if engine == OWN_ENGINE else f"baseline, {engine}" for engine in engines),
                "model's",
                *("speed-up" if engine == OWN_ENGINE else f"over {engine}" for engine in engines),
                "bound by floors",
            ),
            rows=tuple(_speed_up_row(label, over, engines) for (label, _), over in rows.items()),
            note="Decode seconds of the batch, split where it does not fit. Bound by floors: the speed-up if both ran "
            "at their floors. A larger one says that the baseline is run further from its own.",
        )


def _speed_up_row(label: str, over: Mapping[str, BatchSpeedUp], engines: Sequence[str]) -> tuple[str, ...]:
    """Make the row of a model at a batch from its speed-ups over the baseline by the baseline's engine."""
    some = next(iter(over.values()))
    return (
        label,
        str(some.batch),
        *(split_label(*over[engine].baseline_time) if engine in over else "-" for engine in engines),
        split_label(*some.time),
        *(f"x{over[engine].ratio:.2f}" if engine in over else "-" for engine in engines),
        f"x{some.bound:.2f}" if some.bound is not None else "-",
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
        cell.label,
        str(cell.batch),
        _step(cell),
        seconds_label(row.floor_s / row.new_tokens) if row.floor_s is not None else "-",
        percent(cell.floor_share) if cell.floor_share is not None else "-",
        bytes_label(round(row.step_bytes)),
        f"{row.step_flops / 1e9:.3g}",
        {True: "shared", False: "each", None: "-"}[row.is_prompt_shared],
        _run_label(row.kernels),
    )


def _run_label(kernels: str | None) -> str:
    """Say in one word how steps were run, where what the engine says of itself holds one; else in its words."""
    words = kernels or "-"
    fact, _, _ = words.partition(" (")  # reasons stand in brackets, and name what is not the case
    return next((word for word in ("graph", "compiled", "native", "eager") if word in fact), words)


def _timing_row(cell: Cell) -> tuple[str, ...]:
    repeats = f"{len(cell.decode_s)}" + (f", {cell.num_out_of_memory} out of memory" if cell.num_out_of_memory else "")
    warmup = ", ".join(seconds_label(second) for second in cell.warmup_s) or "-"
    peak = bytes_label(cell.peak_bytes) if cell.peak_bytes is not None else "-"
    if not cell.decode_s:
        return (cell.label, str(cell.batch), "out of memory", "-", "-", repeats, "-", "-", warmup, peak)
    return (
        cell.label,
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
