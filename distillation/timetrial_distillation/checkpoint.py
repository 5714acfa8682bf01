"""The state of a training run on disk: folders that are complete or not there, readable by any number of processes.

A checkpoint is written under another name by all processes (torch.distributed.checkpoint), renamed when all have
finished, and marked as complete last; only marked ones are read. Nothing in training is random, so weights, optimizer
and counters are the whole state.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from timetrial.error import CheckpointError
from timetrial_distillation.world import World

FOLDER = "checkpoints"
COMPLETE = "COMPLETE"
_STATE = "trainer.json"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """How far a run has come. The position in the data is the step: its rows are a function of it."""

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


class CheckpointFolder:
    """The checkpoints of one run, of which the last few are kept."""

    def __init__(self, folder: Path, world: World, keep_last: int = 2) -> None:
        """Keep checkpoints in `folder`; nothing is read or written yet."""
        self._folder = folder / FOLDER
        self._world = world
        self._keep_last = keep_last

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
        """Write a checkpoint of this step, and delete those that are not kept. All processes have to."""
        from torch.distributed.checkpoint.state_dict import get_state_dict
        from torch.distributed.checkpoint.state_dict_saver import save

        final = self._folder / f"step-{state.step:09d}"
        if (final / COMPLETE).exists():
            return
        partial = final.with_name(final.name + ".partial")
        if self._world.is_first:
            for rest in (partial, final):  # of a process that was killed here
                shutil.rmtree(rest, ignore_errors=True)
            partial.mkdir(parents=True)
        self._world.wait()
        weights, moments = get_state_dict(model, optimizer)
        with _quiet_about_one_process():
            content = {"model": weights, "optimizer": moments}
            save(content, checkpoint_id=partial, no_dist=self._world.size == 1)
        if self._world.is_first:
            _write_durably(partial / _STATE, json.dumps({**asdict(state), "processes": self._world.size}))
            partial.replace(final)
            _write_durably(final / COMPLETE, "")
            self._prune()
        self._world.wait()

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState | None:
        """Load the newest complete checkpoint into model and optimizer, or return None if there is none.

        The number of processes that wrote it does not matter.

        Raises:
            CheckpointError: it is not a checkpoint of this model.
        """
        from torch.distributed.checkpoint.api import CheckpointException
        from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
        from torch.distributed.checkpoint.state_dict_loader import load

        path = max(self._complete(), default=None)
        if path is None:
            return None
        weights, moments = get_state_dict(model, optimizer)
        content: dict[str, Any] = {"model": weights, "optimizer": moments}  # Any: as torch nests it
        try:
            saved = json.loads((path / _STATE).read_text(encoding="utf-8"))
            del saved["processes"]
            state = TrainingState(**saved)
            with _quiet_about_one_process():
                load(content, checkpoint_id=path, no_dist=self._world.size == 1)
            set_state_dict(model, optimizer, model_state_dict=content["model"], optim_state_dict=content["optimizer"])
        except (Exception, CheckpointException) as cause:  # whatever torch makes of damaged or foreign files
            failures = getattr(cause, "failures", {})  # of each process, with a traceback that helps nobody
            reason = next((failure[0] for failure in failures.values()), cause)
            raise CheckpointError(
                f"{path} is no checkpoint of this model ({reason}). Delete this folder to go on from an earlier"
                " checkpoint or from the beginning, or use another output folder."
            ) from cause
        return state

    def _complete(self) -> Iterator[Path]:
        for path in self._folder.glob("step-*"):
            if _NAME.fullmatch(path.name) and (path / COMPLETE).exists():
                yield path

    def _prune(self) -> None:
        for path in sorted(self._complete())[: -self._keep_last]:
            (path / COMPLETE).unlink()
            shutil.rmtree(path)


@contextmanager
def _quiet_about_one_process() -> Iterator[None]:
    """Keep torch from warning that there is one process, even when told so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
