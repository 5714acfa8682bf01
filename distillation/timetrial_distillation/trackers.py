"""Where the figures of a training run go besides its own log: TensorBoard and Weights & Biases, both optional.

log.jsonl and evaluations.jsonl are always written and are what the project itself reads; a tracker only shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from timetrial.error import UnknownNameError, UsageError
from timetrial_distillation.evaluation import Evaluation
from timetrial_distillation.loop import StepLog

Json = Mapping[str, Any]  # Any: JSON
TRACKERS = ("tensorboard", "wandb")


class Tracker(Protocol):
    """Takes figures as they come."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Take figures of a step. A run that was resumed may give a step again."""
        ...

    def close(self) -> None:
        """Write what is not written yet; called once, also when training ends with an error."""
        ...


class TensorBoard:
    """Event files in a folder, for `tensorboard --logdir`."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))  # Any: torch ships no types for it

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Take figures of a step."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is not written yet."""
        self._writer.close()


class WeightsAndBiases:
    """A run at Weights & Biases, as the user's environment has it (WANDB_PROJECT, WANDB_MODE and so on)."""

    def __init__(self, folder: Path, name: str, config: Json) -> None:
        wandb = import_module("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(dir=str(folder), name=name, config=dict(config))  # Any: wandb's

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Take figures of a step."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Write what is not written yet."""
        self._run.finish()


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are not known or not installed, before anything is trained.

    Raises:
        UnknownNameError: there is no such tracker.
        UsageError: its package is missing.
    """
    for name in names:
        if name not in TRACKERS:
            raise UnknownNameError("tracker", name, TRACKERS)
        try:
            import_module(name)
        except ImportError as cause:
            raise UsageError(f"--track {name} needs the package {name}: pip install 'timetrial[{name}]'") from cause


@contextmanager
def opened_trackers(names: Sequence[str], folder: Path, run: str, config: Json) -> Iterator[list[Tracker]]:
    """Open trackers by name, writing under `folder`; close them at the end."""
    trackers: list[Tracker] = []
    try:
        for name in names:
            where = folder / name
            trackers.append(TensorBoard(where) if name == "tensorboard" else WeightsAndBiases(where, run, config))
        yield trackers
    finally:
        for tracker in trackers:
            tracker.close()


def step_figures(entry: StepLog) -> dict[str, float]:
    """Return what is shown of a step."""
    return {
        "loss": entry.loss,
        "learning_rate": entry.learning_rate,
        "gradient_norm": entry.gradient_norm,
        "tokens_seen": entry.tokens_seen,
        **{f"parts/{name}": value for name, value in entry.metrics.items()},
    }


def evaluation_figures(found: Evaluation) -> dict[str, float]:
    """Return what is shown of an evaluation."""
    figures = {f"{found.task}/acc@1": found.accuracy}
    if found.coverage is not None:
        figures[f"{found.task}/pass@{found.samples}"] = found.coverage
    return figures
