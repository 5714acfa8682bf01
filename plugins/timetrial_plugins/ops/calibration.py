"""Which of several implementations of an operation is the fastest here: measured, recorded, chosen by the seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from timetrial_plugins.ops.step_ops import StepOps

Operation = Callable[..., Any]  # Any: whatever the field of StepOps returns
_LEAST_GAIN = 0.03  # by which a challenger must be faster: less is noise


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """How long each implementation of one operation took, and which is used."""

    operation: str
    seconds: Mapping[str, float]
    failures: Mapping[str, str]
    """What implementations said that could not run."""
    chosen: str


def choose(seconds: Mapping[str, float], default: str) -> str:
    """Return the fastest implementation; the default unless another is faster by more than 3 %."""
    fastest = min(seconds, key=lambda name: seconds[name])
    return fastest if seconds[fastest] < (1 - _LEAST_GAIN) * seconds[default] else default


def calibrate(
    ops: StepOps,
    default: str,
    challengers: Mapping[str, Mapping[str, Operation]],
    trials: Mapping[str, Sequence[Any]],  # Any: an operation's arguments
    shortest_s: Callable[[Callable[[], object]], float],
) -> tuple[StepOps, Sequence[Measurement]]:
    """Return `ops` with each operation replaced by a challenger that is measured faster, and what was measured.

    Args:
        ops: one implementation of everything.
        default: its name.
        challengers: by name, what other implementations have, by operation.
        trials: arguments to call an operation with, which it may write over; operations without any are not measured.
        shortest_s: returns the least seconds that a piece of work took.
    """
    measurements = []
    for operation, arguments in trials.items():
        rivals = {name: its[operation] for name, its in challengers.items() if operation in its}
        if rivals:
            candidates = {default: getattr(ops, operation), **rivals}
            measured = _measure(operation, default, candidates, arguments, shortest_s)
            ops = replace(ops, **{operation: candidates[measured.chosen]})
            measurements.append(measured)
    return ops, measurements


def _measure(
    operation: str,
    default: str,
    candidates: Mapping[str, Operation],
    arguments: Sequence[Any],  # Any: an operation's arguments
    shortest_s: Callable[[Callable[[], object]], float],
) -> Measurement:
    """Time all candidates; a challenger that fails is recorded and left out, the default may not fail."""
    seconds, failures = {}, {}
    for name, candidate in candidates.items():
        try:
            seconds[name] = shortest_s(lambda candidate=candidate: candidate(*arguments))  # type: ignore[misc]  # a lambda
        except Exception as cause:  # another library's kernel may refuse a shape in any way
            if name == default:
                raise
            failures[name] = f"{type(cause).__name__}: {' '.join(str(cause).split())}"
    return Measurement(operation=operation, seconds=seconds, failures=failures, chosen=choose(seconds, default))
