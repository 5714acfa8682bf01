"""Learning-rate schedules as pure functions of the step, so that a resumed run needs to store nothing but the step.

References: warm-up, stable, decay (WSD) as in MiniCPM, arXiv 2404.06395; cosine as in SGDR, arXiv 1608.03983.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from timetrial.error import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The learning rate over a run, as a multiple of its peak."""

    kind: Literal["wsd", "cosine"] = "wsd"
    warmup_fraction: float = 0.1
    """Share of the steps in which the rate rises linearly; the first step's rate is not 0."""
    decay_fraction: float = 0.1
    """Share of the steps at the end in which it falls linearly (wsd only; cosine falls all the way)."""
    floor: float = 0.0
    """The multiple is never below this after the warm-up."""

    def __post_init__(self) -> None:
        """Refuse fractions that do not fit into a run.

        Raises:
            UsageError: names the field.
        """
        for name in ("warmup_fraction", "decay_fraction", "floor"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UsageError(f"{name} is {value}; expected a number from 0 to 1")
        if self.kind not in ("wsd", "cosine"):
            raise UsageError(f"kind is {self.kind!r}; expected 'wsd' or 'cosine'")
        if self.kind == "wsd" and self.warmup_fraction + self.decay_fraction > 1:
            raise UsageError("warmup_fraction + decay_fraction exceeds 1")

    def multiplier(self, step: int, num_steps: int) -> float:
        """Return the multiple of the peak rate at `step`, which counts from 0 to `num_steps` - 1."""
        num_warmup = round(self.warmup_fraction * num_steps)
        if step < num_warmup:
            return (step + 1) / num_warmup
        if self.kind == "cosine":
            progress = (step - num_warmup) / (num_steps - num_warmup)
            return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2
        num_decay = round(self.decay_fraction * num_steps)
        if step < num_steps - num_decay:
            return 1.0
        return max(self.floor, (num_steps - step) / num_decay)
