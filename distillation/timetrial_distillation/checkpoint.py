"""The state of a training run on disk: weights, optimizer and counters in one file that is replaced atomically."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from timetrial.error import CheckpointError

FILE_NAME = "checkpoint.pt"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """How far a run has come. The data position is the step: batches are a function of it."""

    step: int = 0
    """Steps done."""
    tokens_seen: int = 0
    elapsed_s: float = 0.0
    """Training seconds, pauses left out."""

    def after(self, num_tokens: int, seconds: float) -> TrainingState:
        """Return the state one step later."""
        return TrainingState(
            step=self.step + 1,
            tokens_seen=self.tokens_seen + num_tokens,
            elapsed_s=self.elapsed_s + seconds,
        )


def save_state(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    """Write checkpoint.pt: the old one stays valid until the new one is complete on disk."""
    partial = folder / (FILE_NAME + ".partial")
    with partial.open("wb") as file:
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "state": asdict(state),
            },
            file,
        )
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / FILE_NAME)


def load_state(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState | None:
    """Load checkpoint.pt into model and optimizer, or return None if there is none.

    Raises:
        CheckpointError: the file is not a checkpoint of this model.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        return TrainingState(**saved["state"])
    except Exception as error:  # torch.load has no common error type for damaged files
        raise CheckpointError(
            f"{path} is no checkpoint of this model ({error}). Use another output folder, or delete the file"
            " to begin again."
        ) from error
