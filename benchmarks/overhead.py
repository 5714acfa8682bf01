"""How much of a sampling run is not the model: drawing, detokenising, records, the other stages, the start.

Runs `timetrial.run` without timing in this process, and counts the wall-clock seconds in the model, which reads prompts
and tokens, and in its steps, which also draw the tokens and keep the books of the batch. "of sampling" is the share of
the sample stage outside of either; "of the run" that of the whole call, in which loading, grading and the report are of
a fixed or small size.
Usage: python benchmarks/overhead.py [--model nutshell-llama] [--task nutshell] [--samples 64] [--limit 100]
       [--batch-size 64] [--kernels auto] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import timetrial
from timetrial.clock import MonotonicClock
from timetrial.stages.sample import SampleJob
from timetrial_plugins.device.batch import DeviceBatch
from timetrial_plugins.engine.batch import DecodeBatch
from timetrial_plugins.engine.decoder import DecodeLoop
from timetrial_plugins.models.llama import Llama
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_plugins.ops.native.library import Calls


class Stopwatch:
    """Seconds spent in methods and functions."""

    def __init__(self) -> None:
        self.seconds, self._clock = 0.0, MonotonicClock()

    def watch(self, owner: type[Any] | ModuleType, name: str) -> None:  # Any: whatever class has the method
        """Count every call of a class's method, or of a module's function, from now on."""
        method: Callable[..., Any] = getattr(owner, name)  # Any: whatever it takes and returns

        @wraps(method)
        def watched(*arguments: Any, **options: Any) -> Any:  # Any: as above
            start = self._clock.now()
            result = method(*arguments, **options)
            self.seconds += self._clock.now() - start
            return result

        setattr(owner, name, watched)


def watched_models() -> Stopwatch:
    """Return a stopwatch that counts the seconds inside every model of this process: prompts and steps, not draws."""
    watch = Stopwatch()
    for family in (Llama, Llamba, MambaInLlama):
        watch.watch(family, "prefill")
        watch.watch(family, "step")
    watch_calls(watch)
    return watch


def watch_calls(watch: Stopwatch) -> None:
    """Count what the native kernels of steps take from now on, but for drawing."""

    def timed(calls: Calls, rows: int) -> None:
        watch.seconds += sum(seconds for name, seconds in calls.timed(rows) if name != "draw")

    Calls.__call__ = timed  # type: ignore[method-assign]  # in this process every call is timed


def watched_steps() -> Stopwatch:
    """Return a stopwatch that counts the seconds of prompts and of steps, from the draw to the tokens as numbers."""
    watch = Stopwatch()
    for batch in (DecodeBatch, DeviceBatch):
        watch.watch(batch, "prefill_together")
    watch.watch(DecodeLoop, "_look")
    return watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nutshell-llama")
    parser.add_argument("--task", default="nutshell")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--kernels", default="auto", help="auto, native or eager")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    in_model, in_steps, in_sampling, whole = watched_models(), watched_steps(), Stopwatch(), MonotonicClock()
    in_sampling.watch(SampleJob, "run")
    config = timetrial.RunConfig(
        models=(arguments.model,),
        tasks=(arguments.task,),
        samples=arguments.samples,
        limit=arguments.limit,
        batch_size=arguments.batch_size,
        device="cpu",
        kernels=arguments.kernels,
    )
    with tempfile.TemporaryDirectory() as folder:
        start = whole.now()
        timetrial.run(config, Path(folder) / "run")
        run_s = whole.now() - start
    show(arguments, {"model": in_model.seconds, "steps": in_steps.seconds}, in_sampling.seconds, run_s)


def show(arguments: argparse.Namespace, inside_s: dict[str, float], sampling_s: float, run_s: float) -> None:
    """Print the seconds and the shares."""
    facts = {
        "threads": torch.get_num_threads(),
        **{f"in the {part}, s": round(seconds, 2) for part, seconds in inside_s.items()},
        "sample stage, s": round(sampling_s, 2),
        "whole run, s": round(run_s, 2),
        **{f"outside the {part}, of sampling": f"{1 - seconds / sampling_s:.1%}" for part, seconds in inside_s.items()},
        **{f"outside the {part}, of the run": f"{1 - seconds / run_s:.1%}" for part, seconds in inside_s.items()},
    }
    if arguments.json:
        print(json.dumps({"arguments": vars(arguments), **facts}))
    else:
        print("\n".join(f"{name:32}{value}" for name, value in facts.items()))


if __name__ == "__main__":
    main()
