"""The timing grid, one cell per batch size: what the timing figure draws and the timing table prints."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from timetrial.engines import OWN_ENGINE
from timetrial.record import Timing


class Workload(NamedTuple):
    """What was timed, and where: batches of different workloads do not compare."""

    environment: str
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """All repeats of one batch size of one model on one engine, warm-ups apart."""

    model: str
    engine: str
    workload: Workload
    batch: int
    decode_s: tuple[float, ...]
    """Decode seconds of the successful repeats; empty if every one ran out of memory."""
    prefill_s: tuple[float, ...]
    warmup_s: tuple[float, ...]
    """Decode seconds of the successful warm-ups."""
    num_out_of_memory: int
    peak_bytes: int | None
    last: Timing
    """The row timed last: what the batch costs, and how it was run."""

    @property
    def label(self) -> str:
        """The model's name, and the engine's if it is not the family's own."""
        return timed_label(self.model, self.engine)

    @property
    def median_s(self) -> float:
        """Median decode seconds."""
        return statistics.median(self.decode_s)

    @property
    def step_s(self) -> float:
        """Median decode seconds of one step."""
        return self.median_s / self.workload.new_tokens

    @property
    def floor_share(self) -> float | None:
        """The floor as a share of the median; None if either is unknown."""
        floor_s = self.last.floor_s
        return None if floor_s is None or not self.decode_s else floor_s / self.median_s

    def to_json(self) -> dict[str, Any]:  # Any: JSON-ready
        """Return what scripts read of it."""
        facts = ("weights", "kernels", "is_prompt_shared", "step_bytes", "step_flops", "floor_s")
        return {
            "model": self.model,
            "engine": self.engine,
            **self.workload._asdict(),
            "batch": self.batch,
            "num_repeats": len(self.decode_s),
            "decode_s": self.median_s if self.decode_s else None,
            "prefill_s": statistics.median(self.prefill_s) if self.prefill_s else None,
            "num_out_of_memory": self.num_out_of_memory,
            "peak_bytes": self.peak_bytes,
            **{name: getattr(self.last, name) for name in facts},
            "percent_of_floor": None if self.floor_share is None else 100 * self.floor_share,
        }


def timing_cells(timings: Iterable[Timing]) -> tuple[Cell, ...]:
    """Gather timings by model, engine and workload, models in order of appearance, and by rising batch."""
    groups: dict[tuple[str, str, Workload], dict[int, list[Timing]]] = {}
    rows = list(timings)
    models = list(dict.fromkeys(timing.model for timing in rows))
    # Engines take turns, so that which of them stands first in the file is chance.
    for timing in sorted(rows, key=lambda row: (models.index(row.model), row.engine != OWN_ENGINE, row.engine)):
        key = (timing.model, timing.engine, _workload(timing))
        groups.setdefault(key, {}).setdefault(timing.batch, []).append(timing)
    return tuple(_cell(batches[batch]) for batches in groups.values() for batch in sorted(batches))


def by_workload(cells: Iterable[Cell]) -> dict[Workload, list[Cell]]:
    """Gather cells by workload, in order of appearance."""
    groups: dict[Workload, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.workload, []).append(cell)
    return groups


def by_sweep(cells: Iterable[Cell]) -> dict[tuple[str, int], list[Cell]]:
    """Gather the cells of those (environment, new tokens) that were timed after several prompt lengths."""
    sweeps: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        sweeps.setdefault((cell.workload.environment, cell.workload.new_tokens), []).append(cell)
    return {key: shown for key, shown in sweeps.items() if len({cell.workload.prompt_tokens for cell in shown}) > 1}


def timed_label(model: str, engine: str) -> str:
    """Name a model, and the engine that ran it unless it was the family's own."""
    return model if engine == OWN_ENGINE else f"{model} ({engine})"


def random_label(cells: Iterable[Cell]) -> str:
    """Return what to add to a title if weights were random, else nothing."""
    return ", random weights" if any(cell.last.weights == "random" for cell in cells) else ""


def _workload(timing: Timing) -> Workload:
    return Workload(timing.environment, timing.prompt_tokens, timing.new_tokens)


def _cell(timings: Sequence[Timing]) -> Cell:
    first = timings[0]
    timed = [timing for timing in timings if not timing.is_warmup]
    peaks = [timing.peak_bytes for timing in timings if timing.peak_bytes is not None]
    return Cell(
        model=first.model,
        engine=first.engine,
        workload=_workload(first),
        batch=first.batch,
        decode_s=tuple(timing.decode_s for timing in timed if timing.decode_s is not None),
        prefill_s=tuple(timing.prefill_s for timing in timed if timing.prefill_s is not None),
        warmup_s=tuple(timing.decode_s for timing in timings if timing.is_warmup and timing.decode_s is not None),
        num_out_of_memory=sum(timing.status == "out_of_memory" for timing in timings),
        peak_bytes=max(peaks, default=None),
        last=timings[-1],
    )
